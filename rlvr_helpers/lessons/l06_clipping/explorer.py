"""The clip stage of lesson 06: tokens of a rollout on the slopes of the objective.

stage = clip_stage()
stage                        # as a cell's last line it shows itself
stage.clip_high = 0.28       # every value that a reader changes is a trait
"""

import base64
import itertools
import json
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import traitlets

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.clipping import clip_binds
from rlvr_helpers.kit.recorded import RecordedDrift, recorded_drift
from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO
from rlvr_helpers.paths import DATA
from rlvr_helpers.plots.house import BLUE, INK, ORANGE
from rlvr_helpers.widgets.live import Finite, LiveExplorer, Still, refuse, svg_text, value
from rlvr_helpers.widgets.words import CLIP_STAGE

UNIT = 1e-5  # nats: the recorded log-ratios are whole numbers of it
UPDATE = 8  # that the stage opens with


class ClipStage(LiveExplorer):
    """The stage. Its traits are what a reader changes in the page.

    rule:      "none", "clamp" (without the minimum) or "minimum"
    unit:      "token", "sequence" (the geometric mean of a completion's ratios) or "product"
    clip_low, clip_high: the range, from 0.0001 to 0.9
    update:    0 to 16, updates on the recorded rollout
    advantage_scale: "std" or "none", see `group_advantages`
    chosen:    the chosen token, counted through all completions
    moved:     log-ratio to which the chosen dot was pulled, or None
    predicting: whether the stage asks at which ratio the push of the chosen token becomes 0
    guess:     the ratio that was guessed, or None
    trails:    whether dots leave their way behind
    """

    script = Path(__file__).with_name("explorer.js")
    parts = tuple(map(script.with_name, ["tokens.js", "stage.js", "account.js"]))
    rule = value(traitlets.Enum(["none", "clamp", "minimum"], "minimum"))
    unit = value(traitlets.Enum(["token", "sequence", "product"], "token"))
    clip_low = value(Finite(0.2, min=1e-4, max=0.9))
    clip_high = value(Finite(0.2, min=1e-4, max=0.9))
    update = value(traitlets.Int(UPDATE, min=0, max=16))
    advantage_scale = value(traitlets.Enum(["std", "none"], "std"))
    chosen = value(traitlets.Int(0, min=0))
    moved = value(Finite(None, allow_none=True))
    predicting = value(traitlets.Bool(False))
    guess = value(Finite(None, min=0.0, allow_none=True))
    trails = value(traitlets.Bool(False))

    @traitlets.validate("chosen")
    def _exists(self, proposal: dict) -> int:
        count = len(self.data["rollout"]["tokens"])
        if proposal["value"] >= count:
            refuse("chosen", f"a token from 0 to {count - 1}", proposal["value"])
        return proposal["value"]


def clip_stage(**values: object) -> ClipStage:
    """The stage over the drift recording and the recorded trainings. Keywords set its traits."""
    drift = recorded_drift()
    values = {"chosen": first_token(drift), "predicting": True, **values}
    data = {"rollout": rollout_data(drift), "record": recorded_trainings(), "presets": presets()}
    return ClipStage(data=data, words=CLIP_STAGE, still=still(drift), **values)


def presets() -> list[dict]:
    """What each method sets on the stage."""
    return [
        {
            "name": method.name,
            "rule": "minimum",
            "unit": method.ratio_level,
            "clip_low": method.clip_low,
            "clip_high": method.clip_high,
            "advantage_scale": method.advantage_scale,
        }
        for method in (GRPO, DR_GRPO, GSPO)
    ]


def rollout_data(drift: RecordedDrift) -> dict:
    """The drift recording for the page: log-ratios as steps from one update to the next, and
    `old_probs`, the probabilities of the tokens when they were sampled, in thousandths."""
    page = drift.for_page(UNIT)
    steps = page.pop("steps")
    probs = 1000 * drift.logp_old[drift.mask.bool()].exp()
    rewards = drift.rewards.double().view(-1, drift.group_size)
    advantages = {scale: group_advantages(rewards, scale).flatten() for scale in ("std", "none")}
    return {
        **page,
        "log_ratios": packed(itertools.chain.from_iterable(steps)),
        "rewards": drift.rewards.tolist(),
        "advantages": {scale: a.numpy().round(7).tolist() for scale, a in advantages.items()},
        "old_probs": packed(probs.round().int().tolist()),
        "group_size": drift.group_size,
        "questions": drift.questions,
        "updates": drift.updates,
    }


def packed(numbers: Iterable[int]) -> str:
    """Whole numbers as base64, seven bits per byte. 0, -1, 1, -2 become 0, 1, 2, 3 (zigzag)."""
    found = bytearray()
    for number in numbers:
        # Small numbers of either sign take one byte. An eighth bit says that another byte follows.
        rest = -2 * number - 1 if number < 0 else 2 * number
        while rest >= 128:
            found.append(rest % 128 + 128)
            rest //= 128
        found.append(rest)
    return base64.b64encode(bytes(found)).decode()


def recorded_trainings() -> dict:
    """What `tools/record_clip_stage.py` recorded, by arm: the seeds that all arms have, in order.

    accuracy:      after each rollout
    stopped:       share of tokens (or sequences) that the rule stopped, mean over the rollouts
    largest_ratio: of the whole run
    """
    # Measure each run, and collect the runs of each arm.
    data = json.loads((DATA / "runs" / "clip_stage.json").read_text(encoding="utf-8"))
    arms = {}
    for run in sorted(data["runs"], key=lambda run: run["seed"]):
        key = run["rule"], run["unit"], run["clip_low"], run["clip_high"]
        measured = {
            "accuracy": run["accuracy"],
            "stopped": float(f"{sum(run['stopped']) / len(run['stopped']):.4g}"),
            "largest_ratio": float(f"{max(run['largest_ratio']):.4g}"),
        }
        arms.setdefault(key, []).append(measured)

    # Cut all arms to the seeds that they share.
    names = ("rule", "unit", "clip_low", "clip_high")
    shared = min(len(seeds) for seeds in arms.values())
    return {
        "arms": [
            {**dict(zip(names, key, strict=True)), "seeds": seeds[:shared]}
            for key, seeds in arms.items()
        ]
    }


def first_token(drift: RecordedDrift) -> int:
    """The token that the stage opens with: of the tokens of incorrect answers, the one that has
    become likelier the most, but less than twice as likely."""
    d, a = tokens_after(drift, UPDATE)
    candidates = np.where((a < 0) & (d < np.log(2)), d, -np.inf)
    return int(candidates.argmax())


def tokens_after(drift: RecordedDrift, update: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-ratios and advantages of all tokens after an update (from 1), row by row."""
    keep = drift.mask.bool()
    advantages = drift.advantages[:, None].expand_as(keep)[keep]
    return drift.log_ratios[update - 1][keep].double().numpy(), advantages.double().numpy()


# --- the picture where no script runs, with the measures of tokens.js -----------------------------

SOFT = 0.01  # log-ratios below it lie on an almost linear stretch of the axis
FAR = 4.0  # log-ratio at the ends of the axis
WIDTH = 700  # pixels, as LANE, RISE and FLOOR
LANE = 140
RISE = 38  # from ratio 1 to the ends of a slope
FLOOR = 2 * LANE
TICKS = ("1/16", "1/4", "1/2", "0.98", "1", "1.02", "2", "16")


def still(drift: RecordedDrift) -> Still:
    """GRPO's range over the tokens after UPDATE updates. It reads on white and on black."""
    # Find the tokens that the rule stops.
    d, a = tokens_after(drift, UPDATE)
    low = -np.log1p(-GRPO.clip_low)
    high = np.log1p(GRPO.clip_high)
    ratios = torch.from_numpy(np.exp(d))
    advantages = torch.from_numpy(a)
    stopped = clip_binds(ratios, advantages, GRPO.clip_low, clip_high=GRPO.clip_high).numpy()

    # Draw a lane for each sign, the edges of the range across both, and the axis below.
    parts = [
        *_lane(0, d, a > 0, stopped=stopped, edges=(low, high)),
        *_lane(1, d, a < 0, stopped=stopped, edges=(low, high)),
    ]
    for edge, anchor in ((-low, "end"), (high, "start")):
        x = _x(edge)
        parts.append(_path([(x, 22), (x, FLOOR + 20)], f'stroke="{INK}" stroke-width="2"'))
        x += 6 if anchor == "start" else -6
        parts.append(
            svg_text(x, FLOOR + 32, f"{np.exp(edge):.1f}", anchor=anchor, font_weight="bold")
        )
    parts.append(_path([(14, FLOOR), (WIDTH - 14, FLOOR)], f'stroke="{INK}"'))
    for name in TICKS:
        parts.append(svg_text(_x(np.log(float(Fraction(name)))), FLOOR + 16, name, anchor="middle"))
    axis = CLIP_STAGE["axis"].format(q=CLIP_STAGE["symbols"]["token"])
    parts.append(svg_text(14, FLOOR + 50, axis, anchor="start"))
    given = {"n": UPDATE, "stopped": int(stopped.sum()), "all": f"{len(d):,}"}
    alt, long = (CLIP_STAGE[name].format(**given) for name in ("alt", "long"))
    return Still.of(parts, WIDTH, FLOOR + 58, alt=alt, description=long, size=12)


def _lane(
    side: int, d: np.ndarray, mine: np.ndarray, stopped: np.ndarray, edges: tuple[float, float]
) -> list[str]:
    """The slope of a lane, its dots (grey if the rule stops them) and its name.

    side: 0 for A > 0, 1 for A < 0. mine: the tokens of this lane. edges: see `_slope`.
    """
    # Draw the slope, which is flat beyond the edge.
    ink = (BLUE, ORANGE)[side]
    low, high = edges
    parts = [_path(_slope(side, low, high), f'fill="none" stroke="{ink}" stroke-width="2"')]

    # Pile the dots on it. Each is a line of length 0 with round ends.
    held = np.minimum(d, high) if side == 0 else np.maximum(d, -low)
    xs = _x(d)
    ys = _piled(xs, _height(side, held), mine)
    for colour, some in ((INK, mine & stopped), (ink, mine & ~stopped)):
        spots = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in zip(xs[some], ys[some], strict=True))
        style = f'stroke="{colour}" stroke-width="4" stroke-linecap="round"'
        parts.append(f'<path d="{spots}" {style}/>')
    name = CLIP_STAGE["lanes"][side]
    return [*parts, svg_text(14, side * LANE + 15, name, anchor="start", font_weight="bold")]


def _bend(d: np.ndarray | float) -> np.ndarray | float:
    """A log-ratio on the axis, from -1 to 1: nearly linear below SOFT, like a log above."""
    return np.clip(np.arcsinh(np.divide(d, SOFT)) / np.arcsinh(FAR / SOFT), -1, 1)


def _x(d: np.ndarray | float) -> np.ndarray | float:
    return WIDTH / 2 + (WIDTH / 2 - 14) * _bend(d)


def _height(side: int, d: np.ndarray | float) -> np.ndarray | float:
    """Height of the slope at a log-ratio. Side 0 rises, side 1 falls."""
    return side * LANE + 0.64 * LANE + (-1, 1)[side] * RISE * _bend(d)


def _slope(side: int, low: float, high: float) -> list[tuple[float, float]]:
    """Corners of the objective: flat above `high` on side 0, below -`low` on side 1."""
    ends = (
        [(-FAR, -FAR), (high, high), (FAR, high)]
        if side == 0
        else [(-FAR, -low), (-low, -low), (FAR, FAR)]
    )
    return [(_x(d), _height(side, held)) for d, held in ends]


def _piled(x: np.ndarray, y: np.ndarray, mine: np.ndarray) -> np.ndarray:
    """Heights of dots. Dots of one column rest on each other."""
    lifted = y.copy()
    # Count the dots in each column of 4 pixels. High piles are pressed together to fit the lane.
    piles = {}
    for i in np.flatnonzero(mine):
        below = piles[round(x[i] / 4)] = piles.get(round(x[i] / 4), -1) + 1
        lifted[i] -= 3 + 0.46 * LANE * (1 - np.exp(-3.6 * below / (0.46 * LANE)))
    return lifted


def _path(points: list[tuple[float, float]], style: str) -> str:
    return f'<path d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}" {style}/>'
