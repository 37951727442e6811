"""What moves in the notebooks: the live dashboard, the problem box, and sliders over the figures of `plots`.

A lesson's own explorers are imported from its room.
"""

from rlvr_helpers.widgets.dashboard import TrainingDashboard, progress
from rlvr_helpers.widgets.explorer import Explorer

__all__ = ["Explorer", "TrainingDashboard", "progress"]
