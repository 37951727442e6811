"""The explorer of lesson 03: four probability bars, and the pushes that a sample gives their
weights.

arms = four_arms()
arms                      # as a cell's last line it shows itself
arms.counts               # how often each arm was taken, a trait like every value that changes
"""

import math
from pathlib import Path

import torch
import traitlets

from rlvr_helpers.gradient import exact_gradient
from rlvr_helpers.kit.language import translated
from rlvr_helpers.plots.house import BLUE, INK, ORANGE
from rlvr_helpers.widgets.live import LiveExplorer, Still, svg_text, value

# Four answers to one problem, of which the first is correct. Another one is likelier.
ARMS = ["24", "51", "12", "25"]
LOGITS = [0.0, 1.0, 0.5, -0.5]
REWARDS = [1.0, 0.0, 0.0, 0.0]
WIDTH = 640

WORDS = {
    "picture": "Four answers: probability, push of the last sample, mean push and exact gradient",
    "intro": (
        "Each answer has one weight, its logit. Take answers, and watch what each sample does to"
        " all four weights. Drag a bar to change its probability."
    ),
    "arm": "“{name}”",
    "probability": "probability",
    "bar": "Probability of {name}",
    # The two rows of arrows, and what one can press.
    "row_last": "push of the last sample on each weight",
    "row_mean": "mean push of {n} samples (solid), exact gradient (hollow)",
    "row_mean_one": "push of 1 sample (solid), exact gradient (hollow)",
    "rewards": "Reward of each answer (press to change)",
    "reward": "{name}: {reward}",
    "by_hand": "Take an answer by hand",
    "take": "take {name}",
    "by_chance": "Sample answers by their probabilities",
    "sample": "{n} more",
    "then": "Then",
    "step": "step along the mean",
    "clear": "forget samples",
    "reset": "Reset",
    # What the last sample did, and how far the mean has come.
    "nothing": "No answer has been taken yet.",
    "taken": "“{name}” was taken. Its reward is {reward}, its probability {p}.",
    "silent": "“{name}” was taken. Its reward is 0, so it pushes nothing.",
    "own": "Its own weight gets {reward} × (1 − {p}) = {push}.",
    "rest": "The others get {list}: minus {reward} times their own probability.",
    "after_one": "After 1 sample the mean is {off} away from the exact gradient.",
    "after": "After {n} samples the mean is {off} away from the exact gradient.",
    # The still picture in words.
    "alt": "Probabilities of four answers as bars, and below them the exact gradient as arrows.",
    "long": (
        "The answer with reward 1 has the probability {p} and is pushed up by {up}; the other three"
        " are pushed down."
    ),
}
WORDS = translated(WORDS)


class FourArms(LiveExplorer):
    """Four answers and what samples do to their weights.

    logits:  the four weights
    rewards: of each answer: 1, 0 or -1
    counts:  how often each answer was taken
    arm:     the answer that was taken last, or -1
    """

    script = Path(__file__).with_name("explorer.js")
    logits = value(traitlets.List(LOGITS))
    rewards = value(traitlets.List(REWARDS))
    counts = value(traitlets.List([0, 0, 0, 0]))
    arm = value(traitlets.Int(-1, min=-1, max=3))


def four_arms(**values: object) -> FourArms:
    """The four arms of the lesson. Keywords set the explorer's traits."""
    return FourArms(data={"arms": ARMS}, words=WORDS, still=still(), **values)


def still() -> Still:
    """Bars and exact gradient at the start. It reads on white and on black."""
    logits = torch.tensor(LOGITS, dtype=torch.float64)
    probabilities = logits.softmax(dim=0).tolist()
    gradient = exact_gradient(logits, torch.tensor(REWARDS, dtype=torch.float64)).tolist()

    # Draw each answer's probability as a bar, and its push as an arrow below.
    parts = []
    for k, (name, p, push) in enumerate(zip(ARMS, probabilities, gradient, strict=True)):
        x = 80 + 150 * k
        height = 140 * p
        colour = BLUE if push > 0 else ORANGE
        tip = 250 - 280 * push
        back = math.copysign(8, push)
        parts += [
            f'<rect x="{x - 28}" y="{160 - height:.0f}" width="56" height="{height:.0f}"/>',
            svg_text(x, 152 - height, f"{p:.0%}"),
            svg_text(x, 178, f"“{name}”"),
            f'<path d="M{x} 250V{tip + back:.0f}" stroke="{colour}" stroke-width="4"/>',
            f'<path d="M{x - 6} {tip + back:.0f}L{x} {tip:.0f}L{x + 6} {tip + back:.0f}Z"'
            f' fill="{colour}"/>',
            svg_text(x, 285, f"{push:+.3f}".replace("-", "−")),
        ]
    parts.append(f'<path d="M20 250H{WIDTH - 20}M20 160H{WIDTH - 20}" stroke="{INK}"/>')
    long = WORDS["long"].format(p=f"{probabilities[0]:.2f}", up=f"{gradient[0]:.2f}")
    return Still.of(parts, WIDTH, 300, alt=WORDS["alt"], description=long)
