"""Figures of lesson 08: a method as its formula, and the dials of the bug hunt."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from rlvr_helpers.methods import METHODS, PAPER_SETTINGS, Method
from rlvr_helpers.plots import house
from rlvr_helpers.records import StepRecord
from rlvr_helpers.study.trl import trl_config

# --- a method is four choices

# The fourth is the range, two numbers.
CHOICES = ("advantage_scale", "ratio_level", "aggregation")
# Each choice as mathematics for the picture, and as words for the alternative text. A ratio also
# has its symbol in both.
ADVANTAGE = {
    "std": (
        r"$A_i \,=\, (R_i - \mathrm{mean})\;/\;(\mathrm{std} + 10^{-4})$",
        "A = (R - mean) / (std + 1e-4)",
    ),
    "none": (r"$A_i \,=\, R_i - \mathrm{mean}$", "A = R - mean"),
    "leave_one_out": (
        r"$A_i \,=\, R_i - \mathrm{mean}\ \mathrm{of}\ \mathrm{the}\ \mathrm{others}$",
        "A = R - mean of the others",
    ),
}
RATIO = {
    "token": (
        r"$\rho_{i,t} \,=\, \exp(d_{i,t})$",
        r"\rho_{i,t}",
        "rho = exp(log-prob now - log-prob when sampled) for each token",
        "rho",
    ),
    "sequence": (
        r"$s_i \,=\, \exp(\frac{1}{n_i}\sum_t d_{i,t})$",
        "s_i",
        "s = exp(mean over tokens of log-prob now - log-prob when sampled) for each sequence",
        "s",
    ),
}
SUMS = {
    "sequence_mean": (
        r"\frac{1}{B}\,\sum_i\; \frac{1}{n_i}\,\sum_t",
        "mean over rows of the mean over a row's tokens",
    ),
    "constant": (r"\frac{1}{B\,L_{\max}}\,\sum_i\,\sum_t", "sum over all tokens / (rows x budget)"),
    "token_mean": (r"\frac{1}{\sum_i n_i}\,\sum_i\,\sum_t", "mean over all tokens of the batch"),
}
# The choices in words, for a method without a name of its own.
WORDS = {
    "std": "advantages over the std",
    "none": "unscaled advantages",
    "leave_one_out": "leave-one-out advantages",
    "token": "token ratios",
    "sequence": "sequence ratios",
    "sequence_mean": "a mean of row means",
    "constant": "a constant divisor",
    "token_mean": "a mean over tokens",
}


def choices(method: Method) -> tuple[str, ...]:
    """What a method chooses for each of CHOICES."""
    return tuple(getattr(method, name) for name in CHOICES)


def name_of(method: Method) -> str:
    """What the four choices are called, as a sentence of one line."""
    # A method of the course with these three choices.
    same = [m for m in METHODS.values() if choices(m) == choices(method)]
    if same:
        extra = f" and a KL term of {method.kl_coef:g}" if method.kl_coef else ""
        return f"This is {same[0].name}{_range_of(method, same[0])}{extra}"
    # Otherwise the method that differs in the fewest, and in which.
    nearest = min(METHODS.values(), key=lambda m: len(_unlike(method, m)))
    different = [WORDS[choice] for choice in _unlike(method, nearest)]
    return f"No name of its own: {nearest.name} with {' and '.join(different)}"


def _range_of(method: Method, kind: Method) -> str:
    """Whose range a method of a known kind has. It is "" for the course's own."""
    papers = [m for m in PAPER_SETTINGS.values() if choices(m) == choices(kind)]
    known = zip([kind, *papers], ("", ", the paper's range"), strict=False)
    for each, words in known:
        if _near((method.clip_low, method.clip_high), (each.clip_low, each.clip_high)):
            return words
    return ", with a range of your own"


def _unlike(method: Method, other: Method) -> list[str]:
    """The choices of a method that another does not make."""
    pairs = zip(choices(method), choices(other), strict=True)
    return [mine for mine, theirs in pairs if mine != theirs]


def _near(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Whether two ranges are equal within 2 %."""
    return all(abs(x - y) <= 0.02 * y for x, y in zip(a, b, strict=True))


def method_formula(method: Method, max_tokens: int) -> Figure:
    """The formula of a method, its name if it has one, and the arguments of TRL's GRPOConfig."""
    title = name_of(method)
    fig, axes = house.figure(3.25, title, left=0.1, right=0.1, bottom=0.1, title_lines=2)
    axes[0, 0].set_axis_off()
    # The loss in the method's colour, and what its letters mean.
    color = house.color_of(title.removeprefix("This is ").partition(",")[0].partition(" and")[0])
    _formula(fig, _loss(method), 0.25, y=0.87, size=12.5, color=color)
    _formula(fig, ADVANTAGE[method.advantage_scale][0], 0.25, y=1.5, size=12)
    _formula(fig, RATIO[method.ratio_level][0], 3.6, y=1.5, size=12)
    legend = (
        r"$d_{i,t}\,=\,$log-prob now minus log-prob when sampled;  $n_i$ tokens in row $i$;  $B$"
        r" rows"
    )
    budget = rf";  $L_{{\max}} = {max_tokens}$" if method.aggregation == "constant" else ""
    _formula(fig, legend + budget, 0.25, y=1.9, size=9)
    # The same as arguments of TRL.
    config = trl_words(method, max_tokens)
    _line(fig, "The same in TRL 1.16", 0.1, y=2.32, size=9.5, weight="bold")
    for i, line in enumerate(config):
        _line(fig, line, 0.25, y=2.58 + 0.185 * i, size=9, family="monospace")
    return house.finish(fig, "A method as a formula", _in_words(method, config))


def _ends(method: Method) -> tuple[str, str]:
    """The lower and upper end of the range, as text."""
    return f"{1 - method.clip_low:.5g}", f"{1 + method.clip_high:.5g}"


def _loss(method: Method) -> str:
    """The loss as mathematics."""
    low, high = _ends(method)
    symbol = RATIO[method.ratio_level][1]
    kl = rf"\;+\;{method.kl_coef:g}\;\mathrm{{KL}}" if method.kl_coef else ""
    objective = rf"\min({symbol} A_i,\ \mathrm{{clip}}({symbol},\ {low},\ {high})\,A_i)"
    return rf"$\mathrm{{loss}} \,=\, -\,{SUMS[method.aggregation][0]}\ {objective}{kl}$"


def _in_words(method: Method, config: Sequence[str]) -> list[str]:
    """The loss, its parts and TRL's arguments, for the alternative text."""
    low, high = _ends(method)
    _, _, ratio_words, letter = RATIO[method.ratio_level]
    total = SUMS[method.aggregation][1]
    kl = f" + {method.kl_coef:g} KL" if method.kl_coef else ""
    return [
        f"loss = - {total} of min({letter} A, clip({letter}, {low}, {high}) A){kl}",
        ADVANTAGE[method.advantage_scale][1],
        ratio_words,
        f"In TRL: {' '.join(config)}",
    ]


def _line(fig: Figure, text: str, x: float, y: float, size: float, **style: str) -> None:
    """A line of text, `x` inches from the left and `y` from the top."""
    place = x / house.WIDTH, 1 - y / fig.get_figheight()
    fig.text(*place, text, color=house.INK, size=size, va="top", **style)


def trl_words(method: Method, max_tokens: int) -> list[str]:
    """The arguments of GRPOConfig in lines of two, or what stands against them."""
    try:
        config = trl_config(method, max_tokens)
    except ValueError as error:
        first, _, rest = str(error).partition(": ")
        return [first + (":" if rest else ""), *([rest] if rest else [])]
    words = [f"{name}={value!r}" for name, value in config.items()]
    return [
        ", ".join(words[i : i + 2]) + "," * (i + 2 < len(words)) for i in range(0, len(words), 2)
    ]


def _formula(
    fig: Figure, text: str, x: float, y: float, size: float, color: str = house.INK
) -> None:
    """Mathematics as outlines, `x` inches from the left and `y` from the top: as text it would need
    the reader's fonts."""
    # From points to inches, then to the given position.
    to_inches = Affine2D().scale(1 / 72).translate(x, fig.get_figheight() - y)
    transform = to_inches + fig.dpi_scale_trans
    fig.add_artist(PathPatch(_outline(text, size), transform=transform, color=color, lw=0))


@lru_cache(maxsize=256)
def _outline(text: str, size: float) -> TextPath:
    """The outlines of a formula, in points. A slider asks for the same ones again."""
    return TextPath((0, 0), text, size=size)


# --- the dials of the bug hunt

# (heading, field, second field, scale, low, high). What lies outside is drawn at the edge.
DIALS = [
    ("mean reward", "reward_mean", None, "linear", 0, 1),
    ("loss", "loss", None, "linear", -0.08, 0),
    ("gradient norm", "grad_norm", None, "log", 0.1, 10),
    ("length: right, wrong (dots)", "length_right", "length_wrong", "linear", 0, 70),
    ("groups without signal", "no_signal", None, "linear", 0, 1),
    ("tokens clipped", "clip_fraction", None, "linear", 0, 0.2),
    ("entropy (nats a token)", "entropy", None, "log", 0.05, 5),
    ("KL to the start (nats)", "kl", None, "log", 1e-3, 1e4),
    ("sampler gap (nats)", "sampler_gap", None, "log", 1e-6, 100),
]
FIELDS = [field for dial in DIALS for field in dial[1:3] if field]


class HuntDashboard:
    """The dials of one run over those of the healthy run, in nine panels of fixed scales.
    `figure(name)` changes the lines of one figure, since nine new axes would take too long for a
    slider."""

    def __init__(self, runs: Mapping[str, Sequence[StepRecord]], healthy: str) -> None:
        self.runs = runs
        self.healthy = healthy
        steps = max(len(records) for records in runs.values())
        # Nine panels, whose lines are filled when a run is chosen.
        margins = {"left": 0.5, "right": 0.15, "top": 0.3, "bottom": 0.5}
        self.fig, axes = house.figure(5.2, " ", rows=3, cols=3, wgap=0.5, title_lines=1, **margins)
        self.lines = []
        for ax, dial in zip(axes.flat, DIALS, strict=True):
            self._panel(ax, *dial, steps=steps)
        # Only the lowest row names the steps.
        for ax in axes[2]:
            ax.set_xticks([1, steps])
            ax.set_xlabel("step", labelpad=-8)

    def _panel(
        self,
        ax: Axes,
        name: str,
        field: str,
        second: str | None,
        scale: str,
        low: float,
        high: float,
        steps: int,
    ) -> None:
        """The axes of a dial, the healthy run in grey, and a blue line for the run to be shown."""
        # The fixed scale, with two or three ticks.
        house.heading(ax, name, size=8.5)
        ax.set(yscale=scale, ylim=(low, high), xlim=(0.5, steps + 0.5))
        ax.minorticks_off()
        ax.tick_params(labelsize=8)
        ax.set_yticks([low, high] if scale == "log" else [low, (low + high) / 2, high])
        ax.set_yticklabels(
            [f"{tick:.3g}".replace("e+0", "e").replace("e-0", "e-") for tick in ax.get_yticks()]
        )
        ax.set_xticks([])
        # One line, or two if the dial has a second field.
        blue = house.color_of("GRPO")
        for key, style in ((field, "-"), *([(second, ":")] if second else [])):
            usual = self.values(self.healthy, key, low, high=high)
            ax.plot(range(1, len(usual) + 1), usual, color=house.INK, lw=1.2, linestyle=style)
            line = ax.plot([], [], color=blue, lw=2, linestyle=style, clip_on=False)[0]
            self.lines.append((line, key, low, high))

    def values(self, name: str, field: str, low: float, high: float) -> list[float]:
        """A dial of a run, kept within its scale, since a KL of 0 has no logarithm. It has a gap
        where nothing was measured."""
        found = [getattr(record, field) for record in self.runs[name]]
        return [float("nan") if value is None else min(max(value, low), high) for value in found]

    def figure(self, name: str) -> Figure:
        """The dashboard of a run."""
        # The lines of this run.
        records = self.runs[name]
        healthy = self.runs[self.healthy]
        for line, field, low, high in self.lines:
            values = self.values(name, field, low=low, high=high)
            line.set_data(range(1, len(values) + 1), values)
        # The title compares its reward with that of the healthy run.
        went = f"reward {records[0].reward_mean:.2f} → {records[-1].reward_mean:.2f}"
        other = f"{healthy[0].reward_mean:.2f} → {healthy[-1].reward_mean:.2f}"
        label = "The healthy run" if name == self.healthy else f"Run {name} (blue)"
        title = f"{label}: {went}" + ("" if name == self.healthy else f"; healthy (grey): {other}")
        self.fig.texts[0].set_text(title)
        # Each dial as text. The panel of two lengths has a heading of its own, so they are named.
        dials = [
            (dial.partition(" (")[0], field) for dial, field, second, *_ in DIALS if not second
        ]
        dials += [
            ("length of right answers", "length_right"),
            ("length of wrong answers", "length_wrong"),
        ]
        facts = [f"{dial} {_first_last(records, field)}" for dial, field in dials]
        return house.finish(self.fig, "Dials of a run of the bug hunt", facts)


def _first_last(records: Sequence[StepRecord], field: str) -> str:
    """A field in the first and in the last record."""
    first, last = (getattr(record, field) for record in (records[0], records[-1]))
    return " to ".join("none" if value is None else f"{value:.3g}" for value in (first, last))


def dial_table(runs: Mapping[str, Sequence[StepRecord]], steps: Sequence[int]) -> str:
    """The dials of several runs at some steps, as text: a row for each dial and step, a column for
    each run."""
    rows = [f"{'dial':<21}{'step':>4}" + "".join(f"{name:>10}" for name in runs)]
    for field in FIELDS:
        for step in steps:
            values = [getattr(records[step - 1], field) for records in runs.values()]
            cells = "".join(f"{'-' if v is None else f'{v:.3g}':>10}" for v in values)
            rows.append(f"{field if step == steps[0] else '':<21}{step:>4}{cells}")
    return "\n".join(rows)
