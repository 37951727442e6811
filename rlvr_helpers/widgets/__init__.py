"""What moves in the notebooks: the live dashboard, the problem box, and sliders over the figures of `plots`.

A lesson's own explorers are imported from the file of its topic: `from rlvr_helpers.widgets.clipping import ...`.
"""

from rlvr_helpers.widgets.dashboard import TrainingDashboard, progress
from rlvr_helpers.widgets.explorer import Explorer
from rlvr_helpers.widgets.problem_box import ProblemBox

__all__ = ["Explorer", "ProblemBox", "TrainingDashboard", "progress"]
