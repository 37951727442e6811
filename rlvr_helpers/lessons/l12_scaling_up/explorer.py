"""The explorer of lesson 12: does it fit on this card, and how long is a step?"""

import ipywidgets
from matplotlib.figure import Figure

from rlvr_helpers.lessons.l12_scaling_up.figures import cost_of_a_step
from rlvr_helpers.study.memory import CARDS, SHAPES, Workload
from rlvr_helpers.widgets.explorer import Explorer

# As in the lesson's text.
LORA_RANK = 16


def scaling_explorer() -> Explorer:
    """Pick a card, a model, the size of a step and what is saved. It shows memory against the
    card's end and seconds by part."""

    def draw(
        card: str,
        model: str,
        prompts: int,
        group_size: int,
        completion_tokens: int,
        lora: bool,
        checkpointing: bool,
        eight_bit: bool,
    ) -> Figure:
        work = Workload(
            prompts=prompts,
            group_size=group_size,
            completion_tokens=completion_tokens,
            lora_rank=LORA_RANK if lora else None,
            gradient_checkpointing=checkpointing,
            eight_bit_optimizer=eight_bit,
        )
        return cost_of_a_step(model, SHAPES[model], CARDS[card], work=work)

    # It opens on a step that does not fit, with three ways to save memory below.
    return Explorer(
        draw,
        card=ipywidgets.Dropdown(options=list(CARDS), value="RTX 4090", description="card"),
        model=ipywidgets.Dropdown(options=list(SHAPES), value="qwen2.5-1.5b", description="model"),
        prompts=of_powers("prompts a step", 1, 32, value=2),
        group_size=of_powers("completions a prompt", 2, 32, value=8),
        completion_tokens=ipywidgets.SelectionSlider(
            options=(50, 100, 200, 400, 800, 1600, 3200),
            value=400,
            description="tokens a completion",
        ),
        lora=ipywidgets.Checkbox(False, description=f"LoRA of rank {LORA_RANK}"),
        checkpointing=ipywidgets.Checkbox(False, description="gradient checkpointing"),
        eight_bit=ipywidgets.Checkbox(False, description="8-bit optimizer"),
    )


def of_powers(description: str, low: int, high: int, value: int) -> ipywidgets.SelectionSlider:
    """The powers of two from low to high."""
    options = [2**i for i in range(13) if low <= 2**i <= high]
    return ipywidgets.SelectionSlider(options=options, value=value, description=description)
