"""What moves in the notebooks: the live dashboard, and sliders over the figures of `plots`.

A lesson's own explorers are imported from its room.
"""

from rlvr_helpers import _moved
from rlvr_helpers.engine.lazy import face

_find, __all__ = face(
    __name__, {"dashboard": "TrainingDashboard progress_bar", "explorer": "Explorer"}
)
# Names of the first edition that now stand elsewhere.
_find_moved = _moved.names(__name__, "ProblemBox progress")


def __getattr__(name: str) -> object:
    return _find(name) if name in __all__ else _find_moved(name)
