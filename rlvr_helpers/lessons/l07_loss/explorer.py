"""The explorers of lesson 07: the vote of every token, and the KL of bars that are dragged.

vote_explorer()      # three aggregations over the four rollouts
kl_explorer()        # twenty bars, a reference, three estimators
"""

from pathlib import Path

import numpy as np
import torch
import traitlets

from rlvr_helpers.advantages import group_advantages
from rlvr_helpers.kit.recorded import FourRollouts, four_rollouts
from rlvr_helpers.plots.house import BLUE, INK, ORANGE
from rlvr_helpers.widgets.live import Finite, LiveExplorer, Still, refuse, svg_text, value
from rlvr_helpers.widgets.words import KL_BARS, VOTES

SCRIPT = Path(__file__).with_name("explorer.js")
PARTS = (SCRIPT.with_name("votes.js"), SCRIPT.with_name("kl.js"))
AGGREGATIONS = ["sequence_mean", "constant", "token_mean"]
# The budget L_max can be set from that of the rollouts to this one.
LARGEST_BUDGET = 256
# Bars of the KL explorer.
TOKENS = 20
# A still picture: its width in pixels, and its font.
WIDTH = 720
FONT = {"font": "monospace", "size": 12}


class Votes(LiveExplorer):
    """The votes. Its traits are what a reader changes in the page.

    how:     the aggregation whose votes stand over the text
    budget:  L_max, which "constant" divides by
    lengths: how many tokens of each answer are kept
    rewards: of each answer
    token:   [answer, position] of the chosen token, from 0
    """

    script = SCRIPT
    parts = PARTS
    how = value(traitlets.Enum(AGGREGATIONS, AGGREGATIONS[0]))
    budget = value(traitlets.Int(64, min=1, max=LARGEST_BUDGET))
    lengths = value(traitlets.List(traitlets.Int(min=1)))
    rewards = value(traitlets.List(Finite()))
    token = value(traitlets.List(traitlets.Int(min=0), [3, 0], minlen=2, maxlen=2))

    @traitlets.validate("lengths", "rewards", "token")
    def _fits(self, proposal: dict) -> list:
        """One number for each answer, no length above that of the answer, and a token that
        exists."""
        longest = [len(row) for row in self.data["rows"]]
        found = list(proposal["value"])
        name = proposal["trait"].name
        if name == "token":
            fits = found[0] < len(longest) and found[1] < longest[found[0]]
        else:
            fits = len(found) == len(longest)
        if name == "lengths" and fits:
            fits = all(n <= most for n, most in zip(found, longest, strict=True))
        if not fits:
            wanted = f"such that it fits the {len(longest)} answers of {longest} tokens"
            refuse(name, wanted, found)
        return found


class KlBars(LiveExplorer):
    """The bars. Its traits are what a reader changes in the page.

    probabilities: of the policy, one for each token
    term:          "k1", "k2", "k3" in the loss, or "reward": k1 in the reward
    chosen:        the chosen token, from 0
    """

    script = SCRIPT
    parts = PARTS
    probabilities = value(traitlets.List(Finite(min=0.0, max=1.0)))
    term = value(traitlets.Enum(["k1", "k2", "k3", "reward"], "k2"))
    chosen = value(traitlets.Int(4, min=0, max=TOKENS - 1))

    @traitlets.validate("probabilities")
    def _sums_to_one(self, proposal: dict) -> list[float]:
        found = list(proposal["value"])
        if len(found) != TOKENS or min(found) <= 0 or abs(sum(found) - 1) > 1e-3:
            refuse("probabilities", f"{TOKENS} numbers above 0 with the sum 1", found)
        return found


def vote_explorer(**values: object) -> Votes:
    """The votes over the four rollouts. Keywords set its traits."""
    four = four_rollouts()
    data = {
        "kind": "votes",
        "rows": four.tokens,
        "names": four.kinds,
        "budgets": [four.max_tokens, LARGEST_BUDGET],
    }
    first = {"lengths": four.lengths.tolist(), "rewards": four.rewards.tolist()}
    return Votes(data=data, words=VOTES, still=votes_still(four), **{**first, **values})


def kl_explorer(**values: object) -> KlBars:
    """Twenty bars against a reference with two humps. Keywords set its traits."""
    # The reference, and the policies that a reader can start from.
    starts = {name: p.tolist() for name, p in start_distributions().items()}
    reference = reference_distribution()
    data = {
        "kind": "kl",
        "names": [chr(ord("a") + i) for i in range(TOKENS)],
        "reference": reference.tolist(),
        "starts": [
            {"name": KL_BARS["starts"][name], "probabilities": p} for name, p in starts.items()
        ],
    }
    still = bars_still(np.array(starts["one"]), reference)
    values = {"probabilities": starts["one"], **values}
    return KlBars(data=data, words=KL_BARS, still=still, **values)


def _humps(*humps: tuple[float, float, float]) -> np.ndarray:
    """A distribution over TOKENS tokens: humps of a centre, a width and a height on low ground."""
    positions = np.arange(TOKENS)
    heights = [high * np.exp(-(((positions - at) / wide) ** 2) / 2) for at, wide, high in humps]
    ground = 0.01 + sum(heights)
    return np.round(ground / ground.sum(), 6)


def reference_distribution() -> np.ndarray:
    """Two humps, the first one higher."""
    return _humps((4, 1.5, 1.0), (14, 1.8, 0.7))


def start_distributions() -> dict[str, np.ndarray]:
    """Policies to start from: "one" sits on one hump of the reference, "flat" on both."""
    return {"one": _humps((5, 1.4, 1.0)), "flat": _humps((9, 6.0, 0.2))}


# --- the pictures where no script runs ------------------------------------------------------------


def votes_still(four: FourRollouts) -> Still:
    """The answers as text under the votes of their tokens, with `sequence_mean`."""
    # Under `sequence_mean` all tokens of an answer have the same vote.
    advantages = group_advantages(four.rewards[None].double(), "none")[0]
    weights = (advantages / four.lengths / len(four.lengths)).tolist()
    tallest = max(map(abs, weights))
    # Each answer: its name, then its tokens, broken into lines.
    shapes = []
    y = 52
    for kind, tokens, weight in zip(four.kinds, four.tokens, weights, strict=True):
        shapes.append(svg_text(4, y, kind, anchor="start", font_weight="bold"))
        x = 120
        for token in tokens:
            width = 7.3 * len(token) + 6
            if x + width > WIDTH:
                x = 120
                y += 50
            shapes.append(_vote(x, y, width, token=token, share=weight / tallest))
            x += width
        y += 54
    return Still.of(shapes, WIDTH, y - 40, alt=VOTES["alt"], description=VOTES["still"], **FONT)


def _vote(x: float, y: float, width: float, token: str, share: float) -> str:
    """A token with its bar. share: of the tallest vote, -1 to 1."""
    high = 30 * abs(share)
    middle = x + width / 2
    colour = BLUE if share > 0 else ORANGE
    bar = f'<path d="M{middle:.0f} {y - 13}v-{high:.1f}" stroke="{colour}" stroke-width="14"/>'
    return bar + svg_text(middle, y, token)


def bars_still(policy: np.ndarray, reference: np.ndarray) -> Still:
    """The policy as bars, the reference as ticks over them."""
    # One slot for each token: 400 pixels are a probability of 1.
    shapes = []
    slot = (WIDTH - 20) / TOKENS
    for i, (p, r) in enumerate(zip(policy, reference, strict=True)):
        x = 10 + slot * (i + 0.5)
        shapes += [
            f'<path d="M{x:.0f} 220v-{400 * p:.1f}" stroke="{BLUE}" stroke-width="24"/>',
            f'<path d="M{x - 16:.0f} {220 - 400 * r:.1f}h32" stroke="{INK}" stroke-width="3"/>',
            svg_text(x, 238, chr(ord("a") + i)),
        ]
    kl = torch.tensor(policy).log().sub(torch.tensor(reference).log()).mul(torch.tensor(policy))
    words = KL_BARS["still"].format(kl=f"{kl.sum():.3f}")
    return Still.of(shapes, WIDTH, 246, alt=KL_BARS["alt"], description=words, **FONT)
