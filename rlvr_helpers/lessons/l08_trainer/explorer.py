"""Explorers of lesson 08: a method from its four choices, and the bug hunt with its dashboards."""

from pathlib import Path

import ipywidgets
from matplotlib.figure import Figure

from rlvr_helpers.lessons.l08_trainer.experiment import (
    FOLDER,
    HEALTHY,
    LETTERS,
    SUSPECTS,
    check_guess,
    load_hunt,
    read_key,
)
from rlvr_helpers.lessons.l08_trainer.figures import HuntDashboard, method_formula
from rlvr_helpers.methods import ADVANTAGE_SCALES, AGGREGATIONS, RATIO_LEVELS, Method
from rlvr_helpers.widgets.explorer import Explorer

# The budget L_max in the formula of Dr. GRPO.
MAX_TOKENS = 64


def four_choices() -> Explorer:
    """Pick the four choices and a KL term: formula, name, TRL's arguments."""

    def draw(
        advantage_scale: str,
        ratio_level: str,
        aggregation: str,
        clip_low: float,
        clip_high: float,
        kl_coef: float,
    ) -> Figure:
        # The name is what the figure finds out.
        method = Method(
            "",
            advantage_scale,
            ratio_level,
            clip_low=clip_low,
            clip_high=clip_high,
            aggregation=aggregation,
            kl_coef=kl_coef,
        )
        return method_formula(method, MAX_TOKENS)

    # The first option of each is GRPO's.
    return Explorer(
        draw,
        advantage_scale=ipywidgets.Dropdown(
            options=ADVANTAGE_SCALES, description="advantage scale"
        ),
        ratio_level=ipywidgets.Dropdown(options=RATIO_LEVELS, description="ratio level"),
        aggregation=ipywidgets.Dropdown(options=AGGREGATIONS, description="aggregation"),
        clip_low=range_slider("clip range below 1"),
        clip_high=range_slider("clip range above 1"),
        kl_coef=ipywidgets.Dropdown(options=(0.0, 0.001, 0.04), description="KL coefficient"),
    )


def range_slider(description: str) -> ipywidgets.SelectionSlider:
    """The ranges that methods use, and some between."""
    values = (1e-4, 3e-4, 4e-4, 1e-3, 3e-3, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.28, 0.5)
    return ipywidgets.SelectionSlider(
        options=[(f"{v:g}", v) for v in values], value=0.2, description=description
    )


def hunt_dashboards(folder: str | Path = FOLDER) -> Explorer:
    """The dials of one run of the bug hunt in `folder` over those of the healthy run."""
    dashboard = HuntDashboard(load_hunt(Path(folder)), HEALTHY)
    options = [(f"run {letter}", letter) for letter in LETTERS] + [("the healthy run", HEALTHY)]
    return Explorer(dashboard.figure, name=ipywidgets.Dropdown(options=options, description="show"))


# For a run whose bug is found.
POINTS = 3


class Hunt:
    """The bug hunt as a game: 3 points per run, one less for each hint and each incorrect guess.

    folder: a hunt that `record_hunt` made, by default the course's
    """

    def __init__(self, folder: str | Path = FOLDER) -> None:
        self.folder = Path(folder)
        self.records = load_hunt(self.folder)
        self.planted = read_key(self.folder)
        # Points lost by run, runs that had a hint, incorrect guesses, and runs that are solved.
        self.lost = dict.fromkeys(LETTERS, 0)
        self.hinted = set()
        self.missed = set()
        self.found = set()

    def guess(self, **numbers: int | None) -> None:
        """Judges guesses such as A=3, and prints the score. The same incorrect guess costs once."""
        for letter, number in numbers.items():
            verdict = check_guess(letter, number, self.records, planted=self.planted)
            if verdict:
                self.found.add(letter)
            elif number in SUSPECTS and (letter, number) not in self.missed:
                self.missed.add((letter, number))
                self.lost[letter] += letter not in self.found
        print(f"score: {self.score} of {POINTS * len(LETTERS)}")

    def hint(self, letter: str) -> None:
        """Says which dial gives a run's bug away. It costs a point."""
        suspect = SUSPECTS[self.planted[letter]]
        if letter not in self.hinted | self.found:
            self.hinted.add(letter)
            self.lost[letter] += 1
        print(f"{letter}: at step 1, compare {suspect.dial} with the healthy run")

    @property
    def score(self) -> int:
        """The points of all runs whose bug is found."""
        return sum(max(0, POINTS - self.lost[letter]) for letter in self.found)
