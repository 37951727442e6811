"""The live explorers by name, each with the cell that makes it."""

from rlvr_helpers.widgets.live import LiveExplorer

FACE = "one_group next_token four_arms eight_answers three_ratios clip_stage".split()
FACE += ["vote_explorer", "kl_explorer", "run_explorer"]
CELLS = {name: f"from rlvr_helpers import {name}\n\n{name}()" for name in FACE}
CELLS["pay_or_not"] = """\
from rlvr_helpers.lessons.l02_rewards.explorer import pay_or_not

pay_or_not()"""
CELLS["token_lens"] = """\
from rlvr_helpers import token_lens
from rlvr_helpers.kit.recorded import recorded_group

token_lens(recorded_group())"""
CELLS["what_else"] = """\
from rlvr_helpers import four_rollouts, load_policy
from rlvr_helpers.kit.token_lens import what_else

what_else(four_rollouts(), load_policy("tiny"))"""


def make(name: str) -> LiveExplorer:
    """What the last line of a cell shows."""
    *lines, last = CELLS[name].splitlines()
    names = {}
    exec("\n".join(lines), names)
    return eval(last, names)
