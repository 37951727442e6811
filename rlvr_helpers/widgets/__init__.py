"""What moves in the notebooks: the live dashboard, and sliders over the figures of `plots`.

A lesson's own explorers are imported from its room.
"""

from rlvr_helpers import _moved
from rlvr_helpers.widgets.dashboard import TrainingDashboard, progress_bar
from rlvr_helpers.widgets.explorer import Explorer

__all__ = ["Explorer", "TrainingDashboard", "progress_bar"]

# Names of the first edition that now stand elsewhere.
__getattr__ = _moved.names(__name__, "ProblemBox progress")
