"""Predictions and quiz of lesson 07."""

from rlvr_helpers.exercises.questions import Choice, Prediction, Question

PREDICTIONS = [
    Prediction(
        "token_factor",
        lesson="07",
        question=(
            "Two answers are wrong, of 11 and of 60 tokens. GRPO averages over the tokens of each"
            " answer, then over answers. How many times as hard is a token of the short one pushed?"
        ),
    ),
    Prediction(
        "wrong_lengths",
        lesson="07",
        question=(
            "GRPO trains on wrong answers only, each with A = -1. What happens to the length of"
            " wrong answers?"
        ),
        choices=("they become shorter", "they stay as they are", "they become longer"),
    ),
    Prediction(
        "lost_hump",
        lesson="07",
        question=(
            "The reference has two humps, the policy sits on one of them. Which term in the loss"
            " brings the policy back to the other hump fastest?"
        ),
        choices=("k1", "k2", "k3"),
    ),
]

QUIZ = [
    Question(
        "twice_the_budget",
        text=(
            "You double the budget L_max that Dr. GRPO divides by. No answer gets longer, and"
            " AdamW trains without a KL term, and the gradient norm is not clipped. What changes?"
        ),
        choices=[
            Choice(
                "Hardly anything: the loss is halved, and AdamW divides that out.",
                why="A constant divisor scales all votes alike, and AdamW's step has no scale.",
                correct=True,
            ),
            Choice(
                "Long answers lose half of their vote to short ones.",
                why="All votes are halved, so no answer's share changes.",
            ),
            Choice(
                "Training takes steps of half the size.",
                why="It would with plain gradient descent. AdamW divides by the gradient's size.",
            ),
        ],
    ),
    Question(
        "zero_loss",
        text="GRPO's loss is exactly 0 just after sampling, with A between -0.9 and 0.9. Why?",
        choices=[
            Choice(
                "Each answer's mean is -A, and the advantages of a group add up to 0.",
                why="So it says nothing about learning. The gradients of the tokens are not 0.",
                correct=True,
            ),
            Choice(
                "There is nothing left to learn.",
                why="The gradients are not 0: tokens of correct answers go up, others down.",
            ),
            Choice("The clip has stopped every token.", why="At ratio 1 the clip binds nowhere."),
        ],
    ),
    Question(
        "k1_in_the_loss",
        text="You add beta times k1 to the loss, since it measures the KL without bias. What now?",
        choices=[
            Choice(
                "On average no pull to the reference: only noise is added.",
                why=(
                    "With the samples held fixed its gradient is that of -x, whose mean is 0."
                    " Subtracted from the reward it works."
                ),
                correct=True,
            ),
            Choice(
                "The policy is held near the reference, better than by k3.",
                why="A term without bias as a measurement can have a useless gradient.",
            ),
            Choice(
                "The policy spreads over all of the reference.",
                why="That is what k3 does, whose gradient is that of KL(reference || policy).",
            ),
        ],
    ),
]
