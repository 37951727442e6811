"""Reinforcement learning with verifiable rewards, built lesson by lesson.

    from rlvr_helpers import GRPO, TrainSettings, load_policy, load_problems, train

The names below are those that most lessons share. Each is imported when it is first asked for.
"""

import logging

from rlvr_helpers import _moved
from rlvr_helpers.engine.lazy import face

# Module -> the names that it gives to the face of the package.
_HOMES = {
    "paths": "DATA",
    "problems": "load_problems",
    "models": "format_prompt load_policy",
    "sampling": "answer sample_groups",
    "scoring": "token_logprobs",
    "rewards": "answers_match correctness_reward extract_answer format_reward",
    "advantages": "group_advantages groups_without_signal",
    "ratios": "sequence_ratios token_ratios",
    "clipping": "clip_binds clipped_objective",
    "losses": "aggregate kl_estimate policy_loss",
    "methods": "DAPO DR_GRPO GRPO GSPO METHODS Method PAPER_SETTINGS",
    "train_settings": "TrainSettings",
    "training": "train",
    "evaluation": "evaluate",
    "study.runs": "load_run",
    "kit.recorded": "four_rollouts recorded_drift recorded_runs",
    "kit.course_map": "course_map",
    "kit.problem_box": "ProblemBox",
    "kit.token_lens": "token_lens",
    "lessons.l00_start_here.explorer": "one_group",
    "lessons.l01_sampling.explorer": "next_token",
    "lessons.l03_policy_gradient.explorer": "four_arms",
    "lessons.l04_advantages.explorer": "eight_answers",
    "lessons.l05_ratios.explorer": "three_ratios",
    "lessons.l06_clipping.explorer": "clip_stage",
    "lessons.l07_loss.explorer": "kl_explorer vote_explorer",
    "lessons.l09_train_all_three.explorer": "run_explorer",
    "exercises": "check hint predict quiz reveal show_progress solution",
    "widgets": "TrainingDashboard progress_bar",
}
# bitsandbytes, which other packages import, warns of a 4-bit kernel that nothing here uses.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

__getattr__, __all__ = face(__name__, _HOMES)
_moved.watch()
