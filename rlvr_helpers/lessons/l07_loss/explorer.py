"""The explorer of lesson 07: lengths of right and of wrong answers against the pull on their
tokens."""

import ipywidgets
from matplotlib.figure import Figure

from rlvr_helpers.lessons.l07_loss.figures import AGGREGATIONS, group_pulls
from rlvr_helpers.widgets.explorer import Explorer

GROUP = 8


def token_weight(how: str, length: int, total_tokens: int, max_tokens: int) -> float:
    """The weight of one token of an answer with `length` tokens, in a group of GROUP answers."""
    if how == "sequence_mean":
        return 1 / (GROUP * length)
    return 1 / (GROUP * max_tokens) if how == "constant" else 1 / total_tokens


def length_explorer() -> Explorer:
    """Sliders for the lengths, for how many of eight answers are right, and for the token
    budget."""

    def draw(right_length: int, wrong_length: int, right: int, budget: int) -> Figure:
        # the budget cuts answers off
        lengths = min(wrong_length, budget), min(right_length, budget)
        advantages = right / GROUP, 1 - right / GROUP  # |R - mean| of a wrong and of a right answer
        present = right < GROUP, right > 0
        total = (GROUP - right) * lengths[0] + right * lengths[1]
        tokens = {}
        answers = {}
        for how in AGGREGATIONS:
            pulls = [
                a * token_weight(how, n, total, max_tokens=budget) if there else 0.0
                for a, n, there in zip(advantages, lengths, present, strict=True)
            ]
            tokens[how] = tuple(pulls)
            answers[how] = tuple(pull * n for pull, n in zip(pulls, lengths, strict=True))
        heads = f"wrong, {lengths[0]} tokens", f"right, {lengths[1]} tokens"
        note = (
            f"Thousandths of the loss: |A| times weight, with A = R - mean. {right} of {GROUP}"
            f" right, budget {budget}."
        )
        return group_pulls(tokens, answers, _title(lengths, right), heads=heads, note=note)

    def length_slider(value: int, what: str) -> ipywidgets.IntSlider:
        return ipywidgets.IntSlider(value, min=1, max=128, description=what)

    return Explorer(
        draw,
        right_length=length_slider(28, "tokens of a right answer"),
        wrong_length=length_slider(60, "tokens of a wrong answer"),
        right=ipywidgets.IntSlider(4, min=0, max=GROUP, description="right answers of 8"),
        budget=ipywidgets.IntSlider(64, min=16, max=256, step=16, description="budget"),
    )


def _title(lengths: tuple[int, int], right: int) -> str:
    wrong_length, right_length = lengths
    if right in (0, GROUP):
        return (
            f"All {GROUP} answers are {'right' if right else 'wrong'}: no advantage, no pull on"
            " anything"
        )
    if wrong_length == right_length:
        return "Equal lengths: every aggregation gives all tokens the same weight"
    times = right_length / wrong_length
    return (
        f"Under sequence_mean a token of a wrong answer weighs {times:.2g} times one of a right"
        " answer; under the others both weigh alike"
    )
