"""Explorers of lesson 01: temperature and top-p at any place of the four rollouts, and pass@k of a
group."""

import ipywidgets
import torch
from matplotlib.figure import Figure

from rlvr_helpers.kit.recorded import four_rollouts
from rlvr_helpers.lessons.l01_sampling import figures as plots
from rlvr_helpers.models import load_policy
from rlvr_helpers.widgets.explorer import Explorer

GROUP_SIZE = 8


def next_token() -> Explorer:
    """What `tiny` says next at a place of one of the four rollouts, at a temperature and top-p."""
    four = four_rollouts()
    policy = load_policy("tiny")
    ids = torch.cat([four.prompt_ids, four.completion_ids], dim=1)
    first = four.prompt_ids.shape[1] - 1
    with torch.no_grad():  # the padding on the right is seen by no earlier place
        logits = policy.model(input_ids=ids, use_cache=False).logits[:, first:-1].double().numpy()
    words = policy.tokenizer.convert_ids_to_tokens(list(range(logits.shape[-1])))
    taken = four.completion_ids.tolist()
    lengths = four.lengths.tolist()

    def draw(rollout: str, place: int, temperature: float, top_p: float) -> Figure:
        row = four.kinds.index(rollout)
        t = min(place, lengths[row]) - 1
        before = " ".join(
            ["…", *four.tokens[row][max(0, t - 4) : t]] if t else ["…", "<|assistant|>"]
        )
        return plots.next_token(logits[row, t], words, taken[row][t], before, temperature, top_p)

    return Explorer(
        draw,
        rollout=ipywidgets.Dropdown(options=four.kinds, value=four.kinds[0], description="rollout"),
        place=ipywidgets.IntSlider(
            3, min=1, max=max(lengths), description="place in the completion"
        ),
        temperature=ipywidgets.FloatSlider(
            1.0, min=0.1, max=2.0, step=0.1, description="temperature"
        ),
        top_p=ipywidgets.FloatSlider(1.0, min=0.1, max=1.0, step=0.05, description="top-p"),
    )


def pass_at_k_of_a_group() -> Explorer:
    """pass@k of a group of eight answers."""
    return Explorer(
        lambda right, k: plots.pass_at_k_curve(right, k, GROUP_SIZE),
        right=ipywidgets.IntSlider(
            1, min=0, max=GROUP_SIZE, description=f"right answers of {GROUP_SIZE}"
        ),
        k=ipywidgets.IntSlider(4, min=1, max=GROUP_SIZE, description="k, answers drawn"),
    )
