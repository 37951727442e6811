"""Figures of lesson 07: what a token weighs, how three KL estimators spread, what the average does
to length."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from rlvr_helpers.plots import house

AGGREGATIONS = ("sequence_mean", "constant", "token_mean")
COLORS = dict(
    zip(AGGREGATIONS, (house.color_of("GRPO"), house.color_of("Dr. GRPO"), house.INK), strict=True)
)
USERS = dict(zip(AGGREGATIONS, ("GRPO, GSPO", "Dr. GRPO", "DAPO"), strict=True))


def token_weights(
    weights: Mapping[str, Sequence[float]], lengths: Sequence[int], names: Sequence[str]
) -> Figure:
    """A panel for each aggregation, in it a bar for each answer: as wide as it is long, as high as
    a token weighs.

    weights: aggregation -> the weight of each answer's tokens. The area is the weight of the whole
        answer.
    """
    times = {how: max(w) / min(w) for how, w in weights.items()}
    most = max(times, key=times.get)
    alike = [how for how in weights if times[how] < 1 + 1e-9]
    title = (
        f"Under {most} a token of the shortest answer weighs {times[most]:.1f} times one of the"
        f" longest{'; under ' + ' and '.join(alike) + ' all weigh alike' if alike else ''}"
    )
    fig, axes = house.figure(
        3.2, title, 1, len(weights), left=1.25, right=0.15, top=0.4, bottom=0.72, wgap=0.25
    )
    tallest = max(max(w) for w in weights.values())
    rows = range(len(lengths))
    for ax, (how, w) in zip(axes[0], weights.items(), strict=True):
        for i in rows:
            base = len(lengths) - 1 - i
            high = 0.58 * w[i] / tallest
            ax.fill_between([0, lengths[i]], base, base + high, color=COLORS[how], alpha=0.75, lw=0)
            ax.text(
                1, base + high + 0.03, f"{1000 * w[i]:.1f}", color=house.INK, size=8.5, va="bottom"
            )
        house.heading(ax, f"{how}\n{USERS[how]}", color=COLORS[how], weight="bold", size=9)
        ax.set(xlim=(0, max(lengths) * 1.05), ylim=(-0.05, len(lengths)), xlabel="tokens")
        labels = [f"{name}\n{n} tokens" for name, n in zip(names, lengths, strict=True)][::-1]
        house.rows_axis(ax, [i + 0.25 for i in rows], labels if ax is axes[0, 0] else None)
    house.note(
        fig,
        "Height and number: the weight of one token, in thousandths. Area: the weight of the whole"
        " answer.",
    )
    lines = [
        f"{how}: "
        + ", ".join(
            f"{1000 * x:.1f} thousandths a token of {name}"
            for x, name in zip(w, names, strict=True)
        )
        for how, w in weights.items()
    ]
    return house.finish(fig, "Weight of a token under three aggregations", lines)


def group_pulls(
    tokens: Mapping[str, tuple[float, float]],
    answers: Mapping[str, tuple[float, float]],
    title: str,
    heads: tuple[str, str],
    note: str,
) -> Figure:
    """Two panels, a row for each aggregation: the pull on one token, and on a whole answer, in
    thousandths; wrong answers go to the left, right ones to the right. tokens, answers: aggregation
    -> (wrong, right), both 0 or more."""
    fig, axes = house.figure(
        2.5, title, 1, 2, left=1.15, right=0.15, top=0.55, bottom=0.35, wgap=0.3, title_lines=2
    )
    for ax, pulls, of in zip(
        axes[0], (tokens, answers), ("one token", "the whole answer"), strict=True
    ):
        largest = max(max(pair) for pair in pulls.values()) or 1.0
        for i, (how, (wrong, right)) in enumerate(pulls.items()):
            y = len(pulls) - 1 - i
            for side, pull in ((-1, wrong), (1, right)):
                ax.barh(
                    y,
                    side * pull,
                    height=0.55,
                    color=COLORS[how],
                    alpha=(1.0, 0.55)[side < 0],
                    lw=0,
                )
                ax.annotate(
                    _thousandths(pull),
                    (side * pull, y),
                    (3 * side, 0),
                    textcoords="offset points",
                    ha="left" if side > 0 else "right",
                    va="center",
                    color=house.INK,
                    size=9,
                )
        ax.axvline(0, color=house.INK, lw=0.8)
        ax.set(xlim=(-1.5 * largest, 1.5 * largest), ylim=(-0.5, len(pulls) - 0.4), xticks=[])
        ax.spines["bottom"].set_visible(False)
        house.rows_axis(ax, range(len(pulls)), list(pulls)[::-1] if ax is axes[0, 0] else None)
        ax.annotate(
            f"pull on {of}",
            (0.5, 1),
            (0, 20),
            "axes fraction",
            textcoords="offset points",
            ha="center",
            color=house.INK,
            size=9.5,
            weight="bold",
        )
        for side, head in zip((-1, 1), heads, strict=True):
            ax.annotate(
                head,
                (0.5, 1),
                (4 * side, 6),
                "axes fraction",
                textcoords="offset points",
                size=9,
                ha="left" if side > 0 else "right",
                color=house.INK,
            )
    for label in axes[0, 0].get_yticklabels():
        label.set_color(COLORS[label.get_text()])
    house.note(fig, note)
    lines = [
        f"{how}: a token of a wrong answer {_thousandths(tokens[how][0])}, of a right one"
        f" {_thousandths(tokens[how][1])}; a whole wrong answer {_thousandths(answers[how][0])}, a"
        f" right one {_thousandths(answers[how][1])} thousandths"
        for how in tokens
    ]
    return house.finish(
        fig, "Pull on tokens and answers under three aggregations", [*heads, *lines]
    )


def _thousandths(pull: float) -> str:
    return f"{1000 * pull:.3g}" if pull else "0"


def kl_estimators(estimates: Mapping[str, Sequence[float]], true_kl: float) -> Figure:
    """A row for each estimator: where its single-token values lie (5 % to 95 %, thick the middle
    half), their mean as a diamond, and the true KL as a line."""
    estimates = {kind: np.asarray(values, dtype=float) for kind, values in estimates.items()}
    spreads = {kind: float(values.std()) for kind, values in estimates.items()}
    errors = {kind: abs(float(values.mean()) / true_kl - 1) for kind, values in estimates.items()}
    widest = max(spreads, key=spreads.get)
    narrowest = min(spreads, key=spreads.get)
    worst = max(errors, key=errors.get)
    title = (
        f"True KL {true_kl:.3f}: {widest} spreads {spreads[widest] / spreads[narrowest]:.1f} times"
        f" as wide as {narrowest}; the sampled mean of {worst} is off by"
        f" {house.percent(errors[worst], digits=2)}"
    )
    fig, axes = house.figure(2.5, title, left=0.5, right=1.75, top=0.3, bottom=0.7)
    ax = axes[0, 0]
    for i, (kind, values) in enumerate(estimates.items()):
        y = len(estimates) - 1 - i
        for (low, high), width in (((5, 95), 2), ((25, 75), 7)):
            ax.plot(
                np.percentile(values, (low, high)),
                [y, y],
                lw=width,
                color=house.color_of("GRPO"),
                alpha=0.8,
                solid_capstyle="butt",
            )
        ax.plot([values.mean()], [y], "D", ms=7, color=house.color_of("Dr. GRPO"), zorder=3)
        text = f"mean {values.mean():.3f}, sd {spreads[kind]:.2f}"
        ax.text(
            1.02,
            y,
            text,
            transform=ax.get_yaxis_transform(),
            va="center",
            color=house.INK,
            size=9.5,
        )
    ax.axvline(true_kl, color=house.INK, lw=1)
    house.heading(ax, "line: true KL")
    ax.set(ylim=(-0.5, len(estimates) - 0.4), xlabel="estimate at one sampled token (nats)")
    house.rows_axis(ax, range(len(estimates)), list(estimates)[::-1])
    house.note(fig, "Thin: 5 % to 95 % of the samples; thick: the middle half; diamond: the mean.")
    lines = [
        f"{kind}: mean {np.mean(v):.3f}, standard deviation {spreads[kind]:.3f}"
        for kind, v in estimates.items()
    ]
    return house.finish(fig, "Three estimators of the KL", lines)


def length_bias(points: Sequence, updates: int | None = None) -> Figure:
    """Mean length of wrong answers against updates on wrong answers alone: thin a seed, bold the
    mean over seeds.

    points: with method, seed, update and length, as `experiments.length_bias` gives them.
    """
    runs: dict[str, dict[int, dict[int, float]]] = {}
    for point in points:
        runs.setdefault(point.method, {}).setdefault(point.seed, {})[point.update] = point.length
    means = {name: _mean_over_seeds(seeds) for name, seeds in runs.items()}
    changes = [
        f"{name} {m[min(m)]:.0f} → {m[max(m)]:.0f}".replace(" ", house.NO_BREAK)
        for name, m in means.items()
    ]
    title = (
        "Tokens of wrong answers, trained on wrong answers alone:"
        f" {', '.join(changes) or 'nothing yet'}"
    )
    fig, axes = house.figure(3.2, title, right=1.3, top=0.3)
    ax = axes[0, 0]
    for name, seeds in runs.items():
        style = {**house.STYLES.get(name, house.OTHER), "marker": None}
        for lengths in seeds.values():
            ax.plot(list(lengths), list(lengths.values()), **{**style, "lw": 0.8, "alpha": 0.55})
        ax.plot(list(means[name]), list(means[name].values()), **{**style, "lw": 2.2})
    if not runs:
        house.empty(ax, "nothing yet")
    last = max([1, *(u for m in means.values() for u in m)]) if updates is None else updates
    tops = [point.length for point in points]
    ax.set(
        xlim=(0, last),
        ylim=(0, 1.1 * max(tops, default=1.0)),
        xlabel="updates on wrong answers alone",
    )
    house.heading(ax, "mean tokens of a wrong answer, held-out problems")
    house.spread_labels(
        ax, [(name, m[max(m)], f"{name} {m[max(m)]:.1f}") for name, m in means.items()]
    )
    count = max((len(seeds) for seeds in runs.values()), default=0)
    house.note(
        fig, f"Bold: mean over {count} seeds; thin: each seed." if count > 1 else "One seed."
    )
    lines = [
        f"{name}, seed {seed}: from {lengths[min(lengths)]:.1f} to {lengths[max(lengths)]:.1f}"
        " tokens"
        for name, seeds in runs.items()
        for seed, lengths in seeds.items()
    ]
    return house.finish(fig, "Length of wrong answers against updates", lines)


def _mean_over_seeds(seeds: Mapping[int, Mapping[int, float]]) -> dict[int, float]:
    """The mean at each update that every seed has reached."""
    common = sorted(set.intersection(*map(set, seeds.values())))
    return {
        update: float(np.mean([lengths[update] for lengths in seeds.values()])) for update in common
    }
