"""The experiment of lesson 02: what a model has learnt from a reward, in a word."""

from collections.abc import Sequence

from rlvr_helpers.records import StepRecord
from rlvr_helpers.train_settings import TrainSettings

# Eight quick steps: the rate stays as it is, and nothing is measured that lesson 02 does not need.
SETTINGS = TrainSettings(steps=8, learning_rate=6e-5, decay_steps=None, track_kl=False)
# The ways as the prediction offers them.
SOLVES = "solves more"
NO_TAG = "drops the tag"
GUESSES = "guesses without working"
PADS = "adds useless words"
OTHER = "something else"
WAYS = (SOLVES, NO_TAG, GUESSES, PADS, OTHER)


def what_it_learnt(records: Sequence[StepRecord]) -> str:
    """One of WAYS, by the sampled completions of the first and the last step.

    SOLVES:  accuracy has risen by 10 points or more
    PADS:    completions have become longer by half or more
    NO_TAG:  fewer than half as many have the form
    GUESSES: completions have become shorter by a quarter or more

    Raises ValueError if there are no records.
    """
    if not records:
        raise ValueError("there are no records: train first, for at least one step")
    first = records[0]
    last = records[-1]
    # Solving comes first: a model that solves more can also have changed its length or form.
    if last.accuracy >= first.accuracy + 0.1:
        return SOLVES
    if mean_length(last) >= 1.5 * mean_length(first):
        return PADS
    if last.format_rate < 0.5 * first.format_rate:
        return NO_TAG
    if mean_length(last) <= 0.75 * mean_length(first):
        return GUESSES
    return OTHER


def mean_length(record: StepRecord) -> float:
    """Tokens per sampled completion."""
    parts = [(record.accuracy, record.length_right), (1 - record.accuracy, record.length_wrong)]
    return sum(share * length for share, length in parts if share)
