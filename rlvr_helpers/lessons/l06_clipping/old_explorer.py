"""The explorers of lesson 06: the clip in four quadrants over real ratios, and the range that clips
a wanted share."""

import threading

import ipywidgets
import numpy as np
import torch
from matplotlib.figure import Figure

from rlvr_helpers.clipping import clip_binds, range_that_binds
from rlvr_helpers.kit.recorded import RecordedDrift, recorded_drift
from rlvr_helpers.lessons.l06_clipping.figures import FourQuadrants, Ratios, share_against_range
from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO
from rlvr_helpers.plots import Picture, show
from rlvr_helpers.widgets.explorer import Explorer

METHODS = {method.name: method for method in (GRPO, DR_GRPO, GSPO)}
DIGITS = (1, 1.5, 2, 3, 4, 5, 7)
EPSILONS = [float(f"{digit}e-{power}") for power in (4, 3, 2) for digit in DIGITS]
EPSILONS += [0.1, 0.15, 0.2, 0.28, 0.3, 0.4, 0.5]  # 0.28: the upper end of DAPO
RANGES = np.logspace(-4, np.log10(0.5), 120)


def ratios_after(drift: RecordedDrift, updates: int) -> dict[str, Ratios]:
    """Token and sequence ratios of the recorded rollout after some updates (0: before the first),
    with advantages."""
    d = drift.log_ratios[updates - 1] if updates else torch.zeros_like(drift.log_ratios[0])
    keep = drift.mask.bool()
    each = drift.advantages
    tokens = d.exp()[keep]
    sequences = (d.sum(dim=1) / drift.lengths).exp()
    return {
        "token": Ratios(tokens.double().numpy(), each[:, None].expand_as(d)[keep].double().numpy()),
        "sequence": Ratios(sequences.double().numpy(), each.double().numpy()),
    }


def clip_explorer(drift: RecordedDrift | None = None) -> Explorer:
    """Objective and gradient against the ratio for both signs of A, over the ratios of a recorded
    rollout.

    Choosing a method sets the range that is usual for it; both sliders then move freely.
    """
    drift = drift or recorded_drift()
    found = [ratios_after(drift, updates) for updates in range(drift.updates + 1)]
    # one figure for all pictures: callbacks may come on two threads
    figure = FourQuadrants()
    lock = threading.Lock()

    def draw(method: str, updates: int, sign: str, clip_low: float, clip_high: float) -> Picture:
        with lock:
            return show(
                figure.draw(
                    METHODS[method], clip_low, clip_high, found[updates], when(updates), sign
                )
            )

    methods = ipywidgets.ToggleButtons(options=list(METHODS), value=GRPO.name, description="method")
    explorer = Explorer(
        draw,
        method=methods,
        updates=ipywidgets.IntSlider(
            8, min=0, max=drift.updates, description="updates on the rollout"
        ),
        sign=ipywidgets.ToggleButtons(
            options=["both", "positive", "negative"], value="both", description="advantages counted"
        ),
        clip_low=_range_slider(GRPO.clip_low, "eps_low"),
        clip_high=_range_slider(GRPO.clip_high, "eps_high"),
    )

    def follow(_) -> None:
        """The method's own range, with one drawing for all three changes."""
        chosen = METHODS[methods.value]
        explorer.set(clip_low=chosen.clip_low, clip_high=chosen.clip_high)

    for buttons in (methods, explorer.controls["sign"]):
        buttons.style.button_width = "105px"  # three of them beside their label
    methods.unobserve(explorer.update, "value")
    methods.observe(follow, "value")
    return explorer


def _range_slider(value: float, description: str) -> ipywidgets.SelectionSlider:
    """From 1e-4 to 0.5 in round values, the methods' usual ones among them, on a roughly
    logarithmic scale."""
    options = [(f"{eps:.5f}".rstrip("0"), eps) for eps in EPSILONS]
    return ipywidgets.SelectionSlider(options=options, value=value, description=description)


def when(updates: int) -> str:
    if updates == 0:
        return "before the first update"
    return f"after {updates} update{'s' * (updates > 1)}"


def range_explorer(drift: RecordedDrift | None = None) -> Explorer:
    """The clipped share of the recorded ratios against the range, and the range that clips the
    share you want."""
    drift = drift or recorded_drift()
    ratios = [ratios_after(drift, updates) for updates in range(1, drift.updates + 1)]
    curves = [shares_clipped(found) for found in ratios]

    def draw(updates: int, share: int) -> Figure:
        found = {
            level: _range(of_level, share / 100) for level, of_level in ratios[updates - 1].items()
        }
        return share_against_range(curves[updates - 1], found, share / 100, when=when(updates))

    return Explorer(
        draw,
        updates=ipywidgets.IntSlider(
            8, min=1, max=drift.updates, description="updates on the rollout"
        ),
        share=ipywidgets.IntSlider(15, min=1, max=50, description="share to clip, %"),
    )


def _range(found: Ratios, share: float) -> float:
    return range_that_binds(
        torch.from_numpy(found.ratios), torch.from_numpy(found.advantages), share
    ).item()


def shares_clipped(found: dict[str, Ratios]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each level RANGES, and the share on which a range of this size to both sides binds."""
    curves = {}
    for level, of_level in found.items():
        q = torch.from_numpy(of_level.ratios)
        a = torch.from_numpy(of_level.advantages)
        curves[level] = (
            RANGES,
            np.array(
                [float(clip_binds(q, a, e, clip_high=e).double().mean()) for e in RANGES.tolist()]
            ),
        )
    return curves
