"""Predictions and quiz of lesson 04."""

from rlvr_helpers.exercises.questions import Choice, Prediction, Question

PREDICTIONS = [
    Prediction(
        "minus_mean",
        lesson="04",
        question=(
            "The same training twice, 16 rollouts each, five seeds: the advantage A of an answer"
            " is R, or R minus the mean of its group. Which one has more correct answers in the"
            " last 4 rollouts?"
        ),
        choices=("R", "R - mean", "no clear difference"),
    ),
    Prediction(
        "minus_ten",
        lesson="04",
        question=(
            "At first about 7 % of the answers are correct. What percent in the last 4 of 16"
            " rollouts with the advantage R - 10?"
        ),
        unit="%",
    ),
    Prediction(
        "expected_update",
        lesson="04",
        question="You subtract 10 from every reward. What happens to the expected update?",
        choices=("it stays", "it turns around", "it becomes longer"),
    ),
]

QUIZ = [
    # Equal rewards carry no signal.
    Question(
        "all_eight_wrong",
        text="All eight answers of a group are wrong. What are their advantages under GRPO?",
        choices=[
            Choice(
                "All exactly 0: the group teaches nothing.",
                why="No answer is better than another. The loss and its gradient get nothing.",
                correct=True,
            ),
            Choice(
                "All negative: the group is pushed down.",
                why="An advantage compares with the group. Eight equal rewards equal their mean.",
            ),
            Choice(
                "Undefined: 0 divided by a std of 0.",
                why=(
                    "1e-4 is added to the std, and equal rewards are set to exactly 0 before any"
                    " rounding."
                ),
            ),
        ],
    ),
    # The rare result has the large advantage.
    Question(
        "seven_of_eight",
        text="Seven of eight answers are correct. Which one has the largest |A| under GRPO?",
        choices=[
            Choice(
                "The wrong one.",
                why="It is far below the mean of 0.88: -2.47, against +0.35 for each correct one.",
                correct=True,
            ),
            Choice(
                "Each of the correct ones.",
                why="They are only 0.12 above the mean, which they make themselves.",
            ),
            Choice(
                "All the same: the std scales them.",
                why="All are divided by one std, so their ratios stay: one against seven.",
            ),
        ],
    ),
    # The mean takes away what all rewards share.
    Question(
        "plus_five",
        text='You add 5 to every reward of every group. What changes with scale="none"?',
        choices=[
            Choice(
                "Nothing: the mean rises by 5 as well.",
                why="(R + 5) - (mean + 5) = R - mean.",
                correct=True,
            ),
            Choice(
                "All advantages are positive, so every answer is pushed up.",
                why="Advantages of a group add up to 0 whatever is added to all rewards.",
            ),
            Choice(
                "The updates become noisier.",
                why="They would with a fixed baseline. The group's mean moves along.",
            ),
        ],
    ),
]
