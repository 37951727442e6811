"""Explorers of lesson 04: the eight rewards of a group, and the weight of a problem."""

import ipywidgets

from rlvr_helpers.lessons.l04_advantages import figures
from rlvr_helpers.widgets.explorer import Explorer

NARROW = {"width": "78px", "padding": "0 4px"}


def eight_rewards() -> Explorer:
    """Eight toggles, pressed for a right answer, and what GRPO, Dr. GRPO and RLOO make of the
    group."""

    def draw(**right: bool):
        return figures.advantage_bars([float(right[f"answer_{i}"]) for i in range(1, 9)])

    toggles = {f"answer_{i}": _reward_toggle(i, right=i in (1, 4, 6)) for i in range(1, 9)}
    explorer = Explorer(draw, wide=False, **toggles)
    row = ipywidgets.HBox(list(toggles.values()), layout={"flex_flow": "row wrap"})
    explorer.box.children = [row, explorer.reset_button, explorer.image]
    return explorer


def _reward_toggle(number: int, right: bool) -> ipywidgets.ToggleButton:
    """A button that says in words whether its answer is right."""
    toggle = ipywidgets.ToggleButton(
        right, tooltip=f"Make answer {number} right or wrong", layout=NARROW
    )

    def name(_=None):
        toggle.description = f"{number} {'right' if toggle.value else 'wrong'}"

    toggle.observe(name, "value")
    name()
    return toggle


def problem_weights() -> Explorer:
    """A problem's weight against its share of right answers, as group size and mark move."""
    return Explorer(
        figures.problem_weight_curves,
        group_size=ipywidgets.IntSlider(8, min=2, max=64, description="group size G"),
        share_right=ipywidgets.FloatSlider(
            0.125, min=0, max=1, step=0.025, readout_format=".1%", description="mark at about"
        ),
        relative=ipywidgets.Dropdown(
            options=[("as it is", False), ("as a share of its largest", True)],
            description="total |A| of the group",
        ),
    )
