"""The explorer of lesson 05: three kinds of ratios made from the same log-probs, on one log axis.

ratios = three_ratios()
ratios                    # as a cell's last line it shows itself
ratios.length = 512       # every value that a reader changes is a trait
"""

from pathlib import Path

import numpy as np
import traitlets

from rlvr_helpers.kit.language import translated
from rlvr_helpers.kit.recorded import RecordedDrift, recorded_drift
from rlvr_helpers.plots.house import BLUE, GREEN, INK
from rlvr_helpers.widgets.live import LiveExplorer, Still, svg_text, value

UNIT = 5e-4  # nats: log-ratios travel to the page as whole numbers of it
LENGTHS = (0, 8, 16, 32, 64, 128, 256, 512)  # 0: as recorded
UPDATE = 8  # that the explorer opens with
COLOURS = {"token": BLUE, "sequence": GREEN, "product": INK}
WIDTH = 640
LANE = 90
BINS = 81
LARGEST = 100.0  # the still's axis ends at it and at 1 over it

WORDS = {
    # The controls.
    "picture": "Histograms of token ratios, sequence ratios and products of token ratios",
    "update": "Updates",
    "one_update": "after 1",
    "updates": "after {n}",
    "length": "Length",
    "tokens": "{n} tokens",
    "recorded": "as recorded",
    "chosen": "Completion",
    "zoom": "Axis",
    "zooms": {"far": "1/100 to 100", "near": "1/2 to 2"},
    "reset": "Reset",
    # What stands on the histograms.
    "axis": "ratio, on one log scale for all three (height: root of the share)",
    "kinds": {
        "token": "token ratio",
        "sequence": "sequence ratio s",
        "product": "product of token ratios",
    },
    "spread": "std of the log {sd}",
    "range": "90 % in {low} to {high}",
    # What a screen reader says of a histogram.
    "heard": (
        "{kind}: {n} from {least} to {most}, median {median}, 90 % in {low} to {high}, {outside}"
        " outside {from} to {to}"
    ),
    # What is said below them.
    "worth": (
        "Weighted by the product, {all} completions are worth {product}. Weighted by s, they are"
        " worth {sequence}."
    ),
    "completion": "Completion {n}, {tokens} tokens (short lines in the histograms)",
    "sums": "Sum of its log-ratios {total}: product {product}. Mean {average}: s = {s}.",
    "made_up": (
        "Completions of this length are made of recorded tokens in random order, so their tokens"
        " do not drift together."
    ),
    # The still picture in words.
    "alt": "Histograms of token ratios, sequence ratios and products after {n} updates, one axis.",
    "long": (
        "After {n} updates the logs have these standard deviations: tokens {token:.3f}, sequences"
        " {sequence:.3f}, products {product:.2f}."
    ),
}
WORDS = translated(WORDS)


class ThreeRatios(LiveExplorer):
    """Three histograms over one rollout of 64 completions.

    update:     0 to 16, updates on the recorded rollout
    length:     tokens of each completion, one of LENGTHS (0: as recorded)
    completion: the chosen one, from 1
    zoom:       "far" (an axis from 1/100 to 100) or "near" (from 1/2 to 2)
    """

    script = Path(__file__).with_name("explorer.js")
    update = value(traitlets.Int(UPDATE, min=0, max=16))
    length = value(traitlets.Enum(list(LENGTHS), 0))
    completion = value(traitlets.Int(1, min=1, max=64))
    zoom = value(traitlets.Enum(["far", "near"], "far"))


def three_ratios(**values: object) -> ThreeRatios:
    """The drift recording as three histograms. Keywords set the explorer's traits."""
    drift = recorded_drift()
    return ThreeRatios(data=drift_data(drift), words=WORDS, still=still(drift), **values)


def drift_data(drift: RecordedDrift) -> dict:
    """The recording for the page: log-ratios as steps from one update to the next."""
    return {**drift.for_page(UNIT), "lengths_made": list(LENGTHS)}


def still(drift: RecordedDrift) -> Still:
    """The three histograms after UPDATE updates. It reads on white and on black."""
    # Make the logs of the three ratios.
    log_ratios = drift.log_ratios[UPDATE - 1].double()
    totals = log_ratios.sum(dim=1)
    logs = {
        "token": log_ratios[drift.mask.bool()].numpy(),
        "sequence": (totals / drift.lengths).numpy(),
        "product": totals.numpy(),
    }

    # Draw a histogram in each lane, its heights as roots so that small shares are seen.
    half = np.log(LARGEST)
    parts = []
    for lane, (kind, values) in enumerate(logs.items()):
        floor = LANE * (lane + 1)
        counts, _ = np.histogram(np.clip(values, -half, half), BINS, (-half, half))
        heights = floor - (LANE - 24) * np.sqrt(counts / len(values))
        steps = "".join(f"H{WIDTH * i / BINS:.0f}V{y:.0f}" for i, y in enumerate(heights))
        parts += [
            f'<path d="M0 {floor}{steps}H{WIDTH}V{floor}Z" fill="{COLOURS[kind]}"/>',
            svg_text(0, floor - LANE + 22, WORDS["kinds"][kind], anchor="start"),
        ]

    # Write the axis.
    for ratio in (0.01, 0.1, 1, 10, 100):
        x = WIDTH * (np.log(ratio) / half + 1) / 2
        anchor = {0.01: "start", 100: "end"}.get(ratio, "middle")
        parts.append(svg_text(x, 3 * LANE + 18, f"{ratio:g}", anchor=anchor))
    long = WORDS["long"].format(n=UPDATE, **{kind: x.std() for kind, x in logs.items()})
    return Still.of(parts, WIDTH, 300, alt=WORDS["alt"].format(n=UPDATE), description=long)
