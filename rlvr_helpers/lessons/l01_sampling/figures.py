"""Figures of lesson 01: how surprising each sampled token is, groups by their right answers,
pass@k."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlvr_helpers.evaluation import pass_at_k, wilson_interval
from rlvr_helpers.plots import house

BLUE = "#0072B2"
ORANGE = "#D55E00"
# groups with 0, 1, 2, and 3 or more right answers
RIGHT_COLORS = ("#9a9a9a", "#5BA3D0", BLUE, "#00609A")


def surprise_bars(
    rows: Mapping[str, tuple[Sequence[str], Sequence[float]]], named: float = 3.0
) -> Figure:
    """-log-prob of every sampled token in nats, a row of bars for each rollout.

    rows: a rollout's kind -> its tokens and their log-probs. The largest bar of a row and those
    above `named` nats are labelled.
    """
    values = {kind: -np.array(logprobs, dtype=float) for kind, (_, logprobs) in rows.items()}
    few = tokens_that_carry(np.concatenate(list(values.values())), 0.5)
    total = sum(map(len, values.values()))
    title = (
        f"{few} of {total} tokens carry half of all the surprise; most tokens were nearly certain"
    )
    fig, axes = house.figure(5.2, title, len(rows), 1, left=0.5, right=0.15, bottom=0.55, hgap=0.34)
    width = max(map(len, values.values()))
    top = max(float(v.max()) for v in values.values())
    for ax, (kind, (tokens, _)) in zip(axes[:, 0], rows.items(), strict=True):
        places = np.arange(1, len(tokens) + 1)
        ax.bar(places, values[kind], width=0.8, color=BLUE)
        ax.set_xlim(0, width + 1)
        ax.set_ylim(0, 1.25 * top)
        ax.set_ylabel("nats")
        house.heading(ax, f"{kind}: {len(tokens)} tokens, {values[kind].sum():.1f} nats", size=9)
        for place, token, value in zip(places, tokens, values[kind], strict=True):
            if value > named or value == values[kind].max():
                ax.text(
                    place,
                    value + 0.02 * top,
                    token,
                    ha="center",
                    va="bottom",
                    color=house.INK,
                    size=8.5,
                )
        ax.tick_params(labelbottom=ax is axes[-1, 0])
    axes[-1, 0].set_xlabel("place in the completion")
    lines = [_surprise_line(kind, tokens, values[kind]) for kind, (tokens, _) in rows.items()]
    return house.finish(fig, "Bars of minus the log-prob of each token", lines)


def tokens_that_carry(surprise: np.ndarray, share: float) -> int:
    """How many of the most surprising tokens it takes to make up this share of all surprise."""
    cumulative = np.sort(surprise)[::-1].cumsum()
    return int((cumulative < share * cumulative[-1]).sum()) + 1


def _surprise_line(kind: str, tokens: Sequence[str], values: np.ndarray) -> str:
    worst = int(values.argmax())
    return (
        f"{kind}: {len(tokens)} tokens, {values.sum():.1f} nats in all, most for {tokens[worst]!r}"
        f" with {values[worst]:.1f}"
    )


def groups_by_right(right: Mapping[int, Sequence[int]], group_size: int) -> Figure:
    """Shares of groups with no, one, two, and more right answers, a bar for each number of
    operations.

    right: number of operations -> right answers of each group.
    """
    shares = {
        n: np.bincount(np.minimum(counts, 3), minlength=4) / len(counts)
        for n, counts in right.items()
    }
    first = min(right)
    last = max(right)
    solved = {n: f"{100 * (1 - share[0]):.0f}{house.NO_BREAK}%" for n, share in shares.items()}
    title = (
        f"A right answer among {group_size}: in {solved[first]} of the groups at {first}"
        f" operations, in {solved[last]} at {last}"
    )
    fig, axes = house.figure(2.85, title, left=1.15, right=1.35, top=0.25, bottom=0.5)
    ax = axes[0, 0]
    lines = []
    for y, n in enumerate(sorted(right)):
        low, high = wilson_interval(sum(r > 0 for r in right[n]), len(right[n]))
        about = f"{100 * low:.0f} to {100 * high:.0f}\xa0%"
        edges = np.concatenate([[0], shares[n].cumsum()])
        for k, (start, share) in enumerate(zip(edges, shares[n], strict=False)):
            ax.barh(y, share, left=start, height=0.66, color=RIGHT_COLORS[k])
            if share > 0.07:
                label = f"{100 * share:.0f}\xa0%"
                ax.text(
                    start + share / 2,
                    y,
                    label,
                    ha="center",
                    va="center",
                    size=8.5,
                    color=_ink_on(RIGHT_COLORS[k]),
                )
        ax.text(
            1.02,
            y,
            f"some right {solved[n]}\n(95\xa0%: {100 * low:.0f}–{100 * high:.0f})",
            va="center",
            color=house.INK,
            size=8.5,
        )
        lines.append(
            f"{n} operations, {len(right[n])} groups: none right {house.percent(shares[n][0])}, 1"
            f" right {house.percent(shares[n][1])}, 2 right {house.percent(shares[n][2])}, 3 or"
            f" more {house.percent(shares[n][3])}; some right {solved[n]} (95 % interval {about})"
        )
    _name_segments(ax, shares[first])
    house.rows_axis(ax, range(len(right)), [f"{n} operations" for n in sorted(right)])
    ax.set_ylim(len(right) - 0.5, -0.5)
    ax.set_xlim(0, 1)
    house.percent_axis(ax.xaxis, 0.25)
    ax.set_xlabel("share of groups")
    return house.finish(fig, "Bars of groups by the number of right answers", lines)


def _ink_on(color: str) -> str:
    return "white" if color in RIGHT_COLORS[2:] else "black"


def _name_segments(ax: Axes, shares: np.ndarray) -> None:
    """Names what the colours of the first bar mean, above it."""
    names = ("none right", "1 right", "2 right", "3 or more")
    places = shares.cumsum() - shares / 2
    apart = house.spread(list(places), 0.13, 0.05, 1.02)
    for name, place in zip(names, apart, strict=True):
        style = {"ha": "center", "size": 8.5, "color": house.INK}
        ax.annotate(name, (place, 1), (0, 5), ("data", "axes fraction"), "offset points", **style)


def pass_at_k_curve(right: int, k: int, group_size: int = 8) -> Figure:
    """pass@k for k from 1 to the group size where `right` of the group's answers are right; one k
    is marked."""
    ks = np.arange(1, group_size + 1)
    exact = [pass_at_k(group_size, right, int(n)) for n in ks]
    chosen = exact[k - 1]
    answers = "1 answer" if k == 1 else f"{k} answers"
    title = (
        f"{right} of {group_size} right: {answers} drawn from them hold a right one in"
        f" {house.percent(chosen)} of draws"
    )
    fig, axes = house.figure(3.0, title, left=0.85, right=0.3, top=0.4, bottom=0.5, title_lines=2)
    ax = axes[0, 0]
    on_top = {"transform": ax.transAxes, "clip_on": False}
    for i in range(group_size):
        ink, fill = (BLUE, BLUE) if i < right else (house.INK, "none")
        ax.plot(0.02 + 0.05 * i, 1.1, "o", ms=9, mfc=fill, mec=ink, **on_top)
    ax.text(
        0.05 * group_size + 0.01,
        1.1,
        "the group: filled is right",
        va="center",
        size=9,
        color=house.INK,
        **on_top,
    )
    ax.plot(ks, exact, "-o", color=BLUE, lw=2, ms=5, clip_on=False)
    ax.plot(k, chosen, "o", color=ORANGE, ms=11, clip_on=False, zorder=3)
    style = {
        "textcoords": "offset points",
        "ha": "center",
        "color": ORANGE,
        "weight": "bold",
        "size": 10,
    }
    ax.annotate(house.percent(chosen), (k, chosen), (0, -20 if chosen > 0.5 else 12), **style)
    ax.set_xlim(0.7, group_size + 0.3)
    ax.set_xticks(ks)
    ax.set_ylim(0, 1.02)
    house.percent_axis(ax.yaxis, 0.25)
    ax.set_xlabel("k, answers drawn")
    ax.set_ylabel("pass@k")
    lines = [f"pass@{n} {house.percent(value)}" for n, value in zip(ks, exact, strict=True)]
    return house.finish(fig, "Curve of pass@k against k", lines)
