"""Figures of lesson 05: ratios along a completion, their spreads over updates, and three kinds of
them side by side."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rlvr_helpers.plots import house

COLORS = {"token": house.color_of("GRPO"), "sequence": house.color_of("GSPO"), "product": house.INK}
BINS = 35  # odd, so that one is centred on ratio 1
NEAR = 0.2  # the grey band of the histograms: ratios within 20 % of 1
FAR_APART = 8  # tokens between two labels of one row


def ratios_along(log_ratios, mask, tokens: Sequence[Sequence[str]], names: Sequence[str]) -> Figure:
    """A row of bars for each completion, one bar a token: its ratio on a log scale. The farthest
    tokens are named.

    log_ratios, mask: [B, T]; tokens: B lists of strings; names: what each row is called.
    """
    d = np.asarray(log_ratios, dtype=float)
    keep = np.asarray(mask).astype(bool)
    d = np.where(keep, d, 0.0)
    low, high = (_short(math.exp(extreme)) for extreme in (d.min(), d.max()))
    still = house.percent(
        float((np.abs(np.expm1(d[keep])) < NEAR).mean()) if keep.any() else 1.0, digits=2
    )
    title = (
        f"{still} of the tokens moved by less than 20\xa0%; all range from {low} to {high} times"
        " their old probability"
    )
    fig, axes = house.figure(
        0.6 + 1.1 * len(d), title, len(d), 1, left=0.65, right=0.15, bottom=0.45, hgap=0.32
    )
    half = max(1.6 * np.abs(d).max(), 0.01)  # room for the names of tokens at the tips
    places, labels = _ticks(half / 1.6)
    for i, ax in enumerate(axes[:, 0]):
        n = int(keep[i].sum())
        ax.axhline(0, color=house.INK, lw=0.7)
        ax.bar(range(1, n + 1), d[i, :n], width=0.9, color=COLORS["token"])
        ax.set_ylim(-half, half)
        ax.set_yticks(places, labels)
        ax.set_xlim(0, d.shape[1] + 1)
        ax.tick_params(labelbottom=i == len(d) - 1)
        house.heading(ax, f"{names[i]}, {n} tokens", size=9)
        for t in _farthest(d[i, :n]):
            below = d[i, t] < 0
            ax.annotate(
                f"“{tokens[i][t]}” × {_short(math.exp(d[i, t]))}",
                (t + 1, d[i, t]),
                (0, -2 if below else 2),
                textcoords="offset points",
                ha="left" if t < 3 else "center",
                va="top" if below else "bottom",
                size=7.5,
                color=house.INK,
            )
    axes[-1, 0].set_xlabel("position in the completion")
    axes[len(d) // 2, 0].set_ylabel("token ratio (log scale)", y=1.1)
    moved = [
        f"{name}: ratios from {_short(math.exp(row[k].min()))} to {_short(math.exp(row[k].max()))}"
        for name, row, k in zip(names, d, keep, strict=True)
        if k.any()
    ]
    return house.finish(fig, "Token ratios along each completion", moved)


def spread_growth(
    token: Sequence[float], sequence: Sequence[float], product: Sequence[float]
) -> Figure:
    """Standard deviations of three log-ratios after 0, 1, 2 ... updates on one rollout."""
    found = {"token": token, "sequence": sequence, "product": product}
    names = {
        "token": "token ratio",
        "sequence": "sequence ratio",
        "product": "product of token ratios",
    }
    last = len(token) - 1
    ends = {name: values[-1] for name, values in found.items()}
    title = (
        f"After {last} update{'s' * (last != 1)} token ratios spread {ends['token']:#.2g}, sequence"
        f" ratios {ends['sequence']:#.2g}, products {ends['product']:#.2g}"
    )
    fig, axes = house.figure(2.9, title, left=0.6, right=2.0, bottom=0.5)
    ax = axes[0, 0]
    for name, values in found.items():
        house.line(ax, range(len(values)), values, lw=2, color=COLORS[name])
    ax.set_xlim(0, max(last, 1))
    ax.set_ylim(0, 1.05 * max(max(ends.values()), 1e-6))
    gap = 1.05 * max(max(ends.values()), 1e-6) * 0.085
    ordered = sorted(ends, key=ends.get)
    for name, y in zip(
        ordered, house.spread([ends[n] for n in ordered], gap, 0, ax.get_ylim()[1]), strict=True
    ):
        ax.text(
            1.02,
            y,
            f"{names[name]} {ends[name]:#.2g}",
            transform=ax.get_yaxis_transform(),
            va="center",
            color=COLORS[name],
            size=9.5,
        )
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.set_xlabel("updates on this rollout")
    ax.set_ylabel("sd of the log-ratio (nats)")
    lines = [f"{names[n]}: from {v[0]:.2g} to {v[-1]:#.2g}" for n, v in found.items()]
    return house.finish(fig, "Spread of log-ratios against updates on one rollout", lines)


def three_ratios(log_ratios, mask, title: str) -> Figure:
    """Histograms of token ratios, sequence ratios and products of token ratios of one set of
    rollouts, each on a scale of its own, with their spreads. log_ratios, mask: [B, T]."""
    keep = np.asarray(mask).astype(bool)
    d = np.where(keep, np.asarray(log_ratios, dtype=float), 0.0)
    total = d.sum(axis=1)
    lengths = keep.sum(axis=1)
    panels = [
        ("token", "token ratio", d[keep]),
        ("sequence", "sequence ratio s", total / np.maximum(lengths, 1)),
        ("product", "product of token ratios", total),
    ]
    fig, axes = house.figure(
        2.75, title, 1, 3, left=0.15, right=0.15, top=0.25, bottom=1.1, wgap=0.25, title_lines=2
    )
    lines = []
    for ax, (kind, name, values) in zip(axes[0], panels, strict=True):
        half = _half_width(values)
        near = math.log1p(-NEAR), math.log1p(NEAR)
        if near[1] < half:
            ax.axvspan(max(near[0], -half), near[1], color=house.INK, alpha=0.22, lw=0, zorder=0)
        else:
            ax.set_facecolor((*_rgb(house.INK), 0.22))
        counts, edges = np.histogram(np.clip(values, -half, half), BINS, (-half, half))
        height = np.sqrt(counts / max(counts.max(), 1))
        ax.stairs(height, edges, fill=True, color=COLORS[kind], alpha=0.85)
        places, labels = _ticks(half)
        ax.set_xticks(places, labels)
        ax.set_xlim(-half, half)
        ax.set_ylim(0, 1.08)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        house.heading(ax, name, color=COLORS[kind], weight="bold", size=9)
        low, high = np.exp(np.quantile(values, (0.05, 0.95)))
        sd = _spread(values.std())
        low = _short(low)
        high = _short(high)
        ax.set_xlabel(f"sd of the log {sd}\n90\xa0% lie in {low} to {high}", size=8.5)
        lines.append(f"{name}: sd of the log {sd}, 90 % between {low} and {high}")
    house.note(
        fig,
        "Grey: within 20\xa0% of 1. Each panel has its own log scale, whose end bars hold what lies"
        " beyond it.\nHeight: square root of the share, so that the tails show.",
    )
    return house.finish(fig, "Three histograms of ratios", lines)


def _rgb(color: str) -> tuple[float, float, float]:
    return tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))


def _half_width(values: np.ndarray) -> float:
    """The next of 1, 2, 5 times a power of ten that holds 99 % of the log-ratios, at least
    0.001."""
    wanted = max(1.05 * float(np.quantile(np.abs(values), 0.99)), 1e-3)
    power = 10 ** math.floor(math.log10(wanted))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= wanted * (1 - 1e-9))


def _ticks(half: float) -> tuple[list[float], list[str]]:
    """Three ticks of an axis of log-ratios from -half to half, which name ratios: 0.9, 1, 1.1 or
    10^-6, 1, 10^6."""
    if half > math.log(10) * 1.1:
        power = math.floor(0.9 * half / math.log(10))
        places = [-power * math.log(10), 0.0, power * math.log(10)]
    else:
        steps = [digit * 10.0**exponent for exponent in range(1, -6, -1) for digit in (5, 2, 1)]
        step = next(s for s in steps if math.log1p(s) <= 0.7 * half)
        low = 1 - step if step < 0.5 else 1 / (1 + step)
        places = [math.log(low), 0.0, math.log1p(step)]
    return places, [_short(math.exp(place)) for place in places]


def _spread(sd: float) -> str:
    """0.1135 -> "0.114", 0.00052 -> "0.0005"."""
    return f"{sd:.4f}" if sd < 0.01 else f"{sd:.3f}" if sd < 1 else f"{sd:.2f}"


def _short(ratio: float) -> str:
    """A ratio in few characters: 1.0004, 1.12, 14, 0.002, 10^-9."""
    if abs(ratio - 1) < 5e-5:
        return "1"
    if abs(ratio - 1) < 0.0095:
        return f"{ratio:.4f}".rstrip("0").rstrip(".")
    if 0.0095 <= ratio < 9.95:
        return f"{ratio:.2f}".rstrip("0").rstrip(".")
    if 0.00095 <= ratio < 9999.5:
        return f"{ratio:.0f}" if ratio > 1 else f"{ratio:.3f}"
    mantissa, exponent = f"{ratio:.0e}".split("e")
    digits = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{digits}" if mantissa == "1" else f"{mantissa}·10{digits}"


def _farthest(d: np.ndarray, count: int = 6) -> list[int]:
    """Places of the tokens farthest from ratio 1 that are not too near to each other and moved by a
    factor of 2.4."""
    chosen: list[int] = []
    for t in np.argsort(-np.abs(d)):
        apart = all(abs(int(t) - c) >= FAR_APART or d[t] * d[c] < 0 for c in chosen)
        if len(chosen) < count and abs(d[t]) > 0.875 and apart:
            chosen.append(int(t))
    return chosen
