"""The explorer of lesson 05: three kinds of ratios over one set of rollouts, as drift and length
change."""

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from rlvr_helpers.kit.recorded import RecordedDrift, recorded_drift
from rlvr_helpers.lessons.l05_ratios.figures import three_ratios
from rlvr_helpers.widgets.explorer import Explorer

LENGTHS = (8, 16, 32, 64, 128, 256, 512)
ROWS = 64  # completions of a length that was not recorded: as many as were


def ratio_explorer(drift: RecordedDrift | None = None) -> Explorer:
    """Sliders for the updates taken on the recorded rollout and for the length of its completions.

    Completions of another length than recorded are strings of tokens drawn, each for itself, from
    the recorded ones.
    """
    drift = drift or recorded_drift()
    log_ratios = drift.log_ratios.numpy()
    mask = drift.mask.numpy().astype(bool)
    places = drawn_tokens(log_ratios[-1][mask])

    def draw(updates: int, length: int) -> Figure:
        after = log_ratios[updates - 1] if updates else np.zeros_like(log_ratios[0])
        d, keep = (
            (after[mask][places[:, :length]], np.ones((ROWS, length), bool))
            if length
            else (after, mask)
        )
        return three_ratios(d, keep, _title(updates, length, d, keep))

    recorded = f"as recorded ({int(drift.lengths.min())} to {int(drift.lengths.max())})"
    options = [(recorded, 0), *((f"{n} tokens", n) for n in LENGTHS)]
    return Explorer(
        draw,
        updates=ipywidgets.IntSlider(
            8, min=0, max=drift.updates, description="updates on the rollout"
        ),
        length=ipywidgets.SelectionSlider(
            options=options, value=0, description="completion length"
        ),
    )


def drawn_tokens(log_ratios: np.ndarray) -> np.ndarray:
    """Which of the recorded tokens, given by their log-ratios, stand in completions of any length:
    [ROWS, longest].

    Every 8 columns are an even draw from smallest to largest, shuffled: the tokens are alike at
    every length.
    """
    random = np.random.default_rng(0)
    ordered = np.argsort(log_ratios)
    block = min(LENGTHS)
    blocks = []
    for _ in range(max(LENGTHS) // block):
        levels = (np.arange(ROWS * block) + random.random()) / (ROWS * block)
        blocks.append(
            random.permutation(ordered[(levels * len(ordered)).astype(int)]).reshape(ROWS, block)
        )
    return np.concatenate(blocks, axis=1)


def _title(updates: int, length: int, log_ratios: np.ndarray, keep: np.ndarray) -> str:
    """How many evenly weighted completions the weighted ones are worth."""
    if not updates:
        return "Before the first update every ratio is 1, at every length"
    total = np.where(keep, log_ratios, 0.0).sum(axis=1)
    product, sequence = (effective_count(x) for x in (total, total / keep.sum(axis=1)))
    of = f"{len(total)} completions" + (f" of {length} tokens" if length else "")
    return (
        f"{updates} update{'s' * (updates > 1)}: weighted by the product, {of} are worth"
        f" {product:.0f}; weighted by s, {sequence:.0f}"
    )


def effective_count(log_weights: np.ndarray) -> float:
    """(sum w)^2 / (sum w^2): how many samples of equal weight the weighted ones are worth (Kish's
    effective size)."""
    weights = np.exp(log_weights - log_weights.max())
    return float(weights.sum() ** 2 / np.square(weights).sum())
