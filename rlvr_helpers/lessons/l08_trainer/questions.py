"""What lesson 08 asks: guesses before the results, and the quiz."""

from rlvr_helpers.exercises.questions import Choice, Prediction, Question

PREDICTIONS = [
    Prediction(
        "slowest_part",
        lesson="08",
        question=(
            "What takes most of a training step on your machine? 'generate' samples answers,"
            " 'score' computes log-probs before any update, 'forward' is the loss, 'backward' its"
            " gradient, 'optimizer' the step of AdamW."
        ),
        choices=("generate", "score", "forward", "backward", "optimizer"),
    ),
    Prediction(
        "sick_but_rising",
        lesson="08",
        question=(
            "Five trainers have a planted bug each. In how many of them does the mean reward still"
            " rise over ten steps?"
        ),
        unit="of 5",
    ),
]

QUIZ = [
    Question(
        "loss_before_the_first_update",
        text=(
            "GRPO, whole groups in each mini-batch. Before the first update the loss is -0.07. What"
            " do you conclude?"
        ),
        choices=[
            Choice(
                "Something that should cancel does not",
                why=(
                    "Every ratio should be 1, the advantages of a group add up to 0, and rows weigh"
                    " the same. Then the loss is 0."
                ),
                correct=True,
            ),
            Choice(
                "The learning rate is too high",
                why="Nothing has moved yet: the first loss knows nothing of the learning rate.",
            ),
            Choice(
                "A negative loss means that it learns",
                why=(
                    "The loss is a surrogate: only its gradient means something. Healthy runs learn"
                    " from a first loss of 0."
                ),
            ),
        ],
    ),
    Question(
        "gap_of_a_nat",
        text=(
            "Sampler and trainer differ by 1.6 nats on some token. Lengths are correct, and the"
            " entropy of step 1 is higher than that of a trainer you trust. Where do you look?"
        ),
        choices=[
            Choice(
                "At the temperature",
                why=(
                    "Another temperature scores another distribution: the same tokens get other"
                    " log-probs, and the entropy changes."
                ),
                correct=True,
            ),
            Choice("At the mask", why="Padding that counts would change the lengths."),
            Choice(
                "At the advantages",
                why=(
                    "The gap is measured before any advantage is used. Wrong advantages can move"
                    " the entropy, which is taken over groups with a signal, but never the gap."
                ),
            ),
        ],
    ),
    Question(
        "fresh_old_log_probs",
        text="A trainer computes the old log-probs anew before each update. What does it show?",
        choices=[
            Choice(
                "A clip fraction of 0 throughout, and no limit on how far a rollout moves it",
                why=(
                    "Every ratio is 1 at every update, so the clip never acts. Lesson 06 showed"
                    " where that leads."
                ),
                correct=True,
            ),
            Choice(
                "The same run, only slower",
                why=(
                    "With one update per rollout, yes. With eight, the ratios to the model that"
                    " sampled are lost."
                ),
            ),
            Choice(
                "A loss that is not finite",
                why="A ratio of 1 is as finite as can be. That is why nobody notices.",
            ),
        ],
    ),
]
