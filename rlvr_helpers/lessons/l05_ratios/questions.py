"""Predictions and quiz of lesson 05."""

from rlvr_helpers.exercises.questions import Choice, Prediction, Question

PREDICTIONS = [
    Prediction(
        "hundred_tokens",
        lesson="05",
        question=(
            "Each of a completion's 100 tokens becomes 1 % likelier. How many times as likely is"
            " the whole completion?"
        ),
        unit="times",
    ),
    Prediction(
        "first_order",
        lesson="05",
        question=(
            "How well does the sum over tokens of (rho - 1) follow the exact ratio of a completion"
            " after 8 updates? Give a correlation, from 0 to 1."
        ),
    ),
]

QUIZ = [
    # On policy the two kinds of ratios do the same.
    Question(
        "after_one_update",
        text=(
            "You take one update on each rollout. What does the choice between token and sequence"
            " ratios change?"
        ),
        choices=[
            Choice(
                "Nothing: every ratio is 1, and both have the same gradient.",
                why="The model has not moved when the loss is computed. GRPO and GSPO agree there.",
                correct=True,
            ),
            Choice(
                "The sequence ratio makes smaller steps.",
                why="Its gradient per token is s / n, and GRPO's mean divides by n too.",
            ),
            Choice(
                "The token ratio pushes unlikely tokens more.",
                why="At ratio 1 both push every token of a completion by the same amount.",
            ),
        ],
    ),
    # A mean narrows with the length, a product widens.
    Question(
        "four_times_as_long",
        text=(
            "Completions become four times as long. Each token drifts as before, independently of"
            " the others. What happens to the spread of s?"
        ),
        choices=[
            Choice(
                "It halves.",
                why="s is a mean of log-ratios: its spread falls as one over the root of n.",
                correct=True,
            ),
            Choice(
                "It doubles.",
                why="That is the product: a sum of log-ratios spreads as the root of n.",
            ),
            Choice(
                "It stays: dividing by n removes the length.",
                why="Dividing a sum by n turns a spread of root n into one over root n.",
            ),
        ],
    ),
    # A ratio of a tensor to itself has no gradient.
    Question(
        "not_detached",
        text=(
            "logp_old is the same tensor as logp_new, and neither you nor the function detaches it."
            " What happens?"
        ),
        choices=[
            Choice(
                "The ratio is 1 and its gradient 0: nothing is learned.",
                why="exp(x - x) is 1 whatever x is, so its derivative is 0.",
                correct=True,
            ),
            Choice(
                "Nothing unusual: the ratio is 1, as before any update.",
                why="The value is, but its gradient is not: a constant 1 cannot push a log-prob.",
            ),
            Choice(
                "The gradient is twice as large.",
                why="The two parts have opposite signs: they cancel.",
            ),
        ],
    ),
]
