"""Where data and notebooks lie."""

from pathlib import Path

COURSE = Path(__file__).resolve().parent.parent
DATA = COURSE / "data"
