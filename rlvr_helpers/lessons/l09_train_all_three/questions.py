"""What lesson 09 asks: guesses before the results, and the quiz."""

from rlvr_helpers.exercises.questions import Choice, Prediction, Question
from rlvr_helpers.lessons.l09_train_all_three.experiment import UNDECIDED

PREDICTIONS = [
    Prediction(
        "which_wins",
        lesson="09",
        question="Which method wins at the usual settings, by three seeds?",
        choices=("GRPO", "Dr. GRPO", "GSPO", UNDECIDED),
    ),
    Prediction(
        "stress_grpo",
        lesson="09",
        question=(
            "Each rollout is used for 32 updates. What is GRPO's held-out accuracy after 8"
            " rollouts, in percent? (It starts at about 9.)"
        ),
        unit="%",
    ),
    Prediction(
        "stress_gspo_wide",
        lesson="09",
        question="GSPO gets GRPO's range, 0.2. What is its accuracy after 8 rollouts, in percent?",
        unit="%",
    ),
]

QUIZ = [
    Question(
        "one_update",
        text=(
            "You train with one update per rollout, once with GRPO and once with GSPO. How do the"
            " two runs differ?"
        ),
        choices=[
            Choice(
                "They do not",
                why=(
                    "Every ratio is 1 when the loss is computed. There the clip binds nowhere, and"
                    " both losses have the same gradient."
                ),
                correct=True,
            ),
            Choice(
                "GSPO takes smaller steps, since its ratio is a mean over tokens",
                why=(
                    "GRPO takes a mean over the tokens too, of the objective. At ratio 1 both give"
                    " each token A / length."
                ),
            ),
            Choice(
                "GSPO stops more, since its range is narrower",
                why="A range of any width holds the ratio 1. With one update nothing is clipped.",
            ),
        ],
    ),
    Question(
        "many_looks",
        text=(
            "You compare three pairs of methods at seven evaluations, and report the one interval"
            " that leaves out 0. What is wrong with that?"
        ),
        choices=[
            Choice(
                "With 21 intervals, about one leaves out 0 by chance",
                why=(
                    "A 95 % interval misses in 5 of 100 cases. Choose the evaluation before you"
                    " look, or widen all 21."
                ),
                correct=True,
            ),
            Choice(
                "Nothing: it is a 95 % interval",
                why="It was one until you picked it for what it shows, out of 21.",
            ),
            Choice(
                "Three seeds allow no interval",
                why=(
                    "They do: Student's factor of 4.3 pays for having so few. It does not pay for"
                    " looking 21 times."
                ),
            ),
        ],
    ),
    Question(
        "one_control",
        text=(
            "Suppose that GSPO with a range of 0.2 falls back just as GRPO does. What does this"
            " control tell you?"
        ),
        choices=[
            Choice(
                "Sequence ratios by themselves do not prevent the fall",
                why=(
                    "Only the range was changed, and the stability is gone. Whether tokens would do"
                    " as well in a narrow range is another control: GRPO's range made narrow."
                ),
                correct=True,
            ),
            Choice(
                "The range explains the whole difference",
                why=(
                    "For that, GRPO in a narrow range would have to do as well as GSPO. This"
                    " control never ran GRPO."
                ),
            ),
            Choice(
                "GSPO is no better than GRPO",
                why=(
                    "With GSPO's range tuned and GRPO's at 0.2 they can still differ. The control"
                    " is about the cause of that, not about whether they do."
                ),
            ),
        ],
    ),
]
