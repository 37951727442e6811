"""Where data and notebooks lie."""

from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"


COURSE = Path(__file__).resolve().parent.parent
