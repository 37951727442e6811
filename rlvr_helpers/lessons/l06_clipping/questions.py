"""Predictions and quiz of lesson 06."""

from rlvr_helpers.exercises.questions import Choice, Prediction, Question

PREDICTIONS = [
    Prediction(
        "clamp_end",
        lesson="06",
        question=(
            "The model starts at 9 percent held-out accuracy, and each rollout is used for 16"
            " updates. With the minimum, three runs end at 63, 56 and 38 percent. Where does one"
            " with the clamp alone end?"
        ),
        unit="%",
    ),
    Prediction(
        "largest_ratio",
        lesson="06",
        question=(
            "Three whole GRPO trainings take 16 updates per rollout, with the minimum and the range"
            " 0.8 to 1.2. What is the largest token ratio of all?"
        ),
    ),
]

QUIZ = [
    # Outside the range is not enough: the side must fit the sign of the advantage.
    Question(
        "wrong_and_likelier",
        text=(
            "A token of an incorrect answer (A < 0) has become 1.5 times as likely. GRPO's range"
            " is 0.8 to 1.2. What does its next update do to this token?"
        ),
        choices=[
            Choice(
                "It pushes the token down.",
                why=(
                    "The minimum is qA = -1.5, smaller than the clipped -1.2, and its gradient is"
                    " alive."
                ),
                correct=True,
            ),
            Choice(
                "Nothing: 1.5 is outside the range, so the clip binds.",
                why=(
                    "Outside is not enough. With A < 0 the clip binds below 0.8 only. The clamp"
                    " without the minimum would do nothing."
                ),
            ),
            Choice(
                "It sets the ratio back to 1.2.",
                why="The clip never changes a ratio. It only takes gradients away.",
            ),
        ],
    ),
    # A mean of log-ratios stays near 0.
    Question(
        "range_of_a_sequence",
        text="Why does GSPO need a much smaller range than GRPO?",
        choices=[
            Choice(
                "Its ratio averages the log-ratios of a whole answer, so it stays near 1.",
                why=(
                    "Ups and downs of tokens cancel in the mean. On the drift recording a range of"
                    " 0.2 would never bind on a sequence. GSPO's is also set to stop many"
                    " sequences, GRPO's only a few tokens."
                ),
                correct=True,
            ),
            Choice(
                "Its ratio multiplies all tokens, so it grows with the length.",
                why="That is the raw product. GSPO takes its n-th root, the geometric mean.",
            ),
            Choice(
                "It is meant to clip fewer places than GRPO.",
                why=(
                    "It clips a far larger share: 39 % of the sequences after 8 updates of the"
                    " drift recording, against 3.2 % of the tokens."
                ),
            ),
        ],
    ),
    # The clip takes a push away and holds nothing.
    Question(
        "above_the_range",
        text=(
            "A token of a correct answer (A > 0) has a ratio of 1.3, above the range. Can its"
            " ratio still become 2 in the next updates?"
        ),
        choices=[
            Choice(
                "Yes: other tokens' updates move the same weights.",
                why=(
                    "Its own gradient is 0, but nothing holds it. In the recorded runs with the"
                    " rule the largest ratios were between 9 and 18."
                ),
                correct=True,
            ),
            Choice(
                "No: above 1.2 the objective is flat.",
                why="A flat objective only ends its own push. It is no wall.",
            ),
            Choice(
                "No: the minimum would push it back down.",
                why="The minimum pushes back what went the wrong way. With A > 0, up is the way.",
            ),
        ],
    ),
]
