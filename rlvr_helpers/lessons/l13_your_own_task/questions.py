"""Predictions and quiz of extras/13."""

from rlvr_helpers.exercises.questions import Choice, Prediction, Question

PREDICTIONS = [
    Prediction(
        "strict_signal",
        lesson="13",
        question=(
            "A strict scorer pays only for the bare equation. `tiny` answers each of 100 problems"
            " 8 times, untrained. In how many of these groups is at least one answer paid?"
        ),
        unit="%",
    ),
    Prediction(
        "heavy_short",
        lesson="13",
        question=(
            "The weight of `short` is raised from 0.5 to 4. How many held-out problems are correct"
            " after the same training?"
        ),
        unit="%",
    ),
    Prediction(
        "wide_wins",
        lesson="13",
        question="After 6 steps, three seeds each: which method is ahead on your task?",
        choices=("GRPO", "GRPO wide", "cannot be told apart"),
    ),
]

QUIZ = [
    Question(
        "own_all_wrong",
        text="Your scorer pays 0 for every answer of every group. What does a step of GRPO do?",
        choices=[
            Choice(
                "Nothing: every advantage is 0, and so is the gradient.",
                why="An advantage compares the answers of a group. If all earn the same, none is"
                " better than another.",
                correct=True,
            ),
            Choice(
                "It makes all eight answers less likely.",
                why="For that their advantages would have to be negative. They are 0.",
            ),
            Choice(
                "It learns slowly: it takes more steps.",
                why="More steps of nothing are nothing. Ask for something that the model does at"
                " times, or pay for a part of the way.",
            ),
        ],
    ),
    Question(
        "own_two_parts",
        text=(
            "`correct` has the weight 1, `short` 0.5, for any text. An empty text has the parts 0"
            " and 1, a correct one of 10 words 1 and 0.5. What are their rewards?"
        ),
        choices=[
            Choice(
                "0.5 and 1.25.",
                why="The reward is the weighted sum of the parts: 0.5 x 1, and 1 + 0.5 x 0.5. The"
                " empty text is paid, which a model can find.",
                correct=True,
            ),
            Choice(
                "0 and 1.25.",
                why="Nothing makes `short` wait for `correct`. To get that, multiply the two.",
            ),
            Choice("1 and 1.5.", why="That is the sum without weights. `short` counts half."),
        ],
    ),
    Question(
        "own_three_seeds",
        text=(
            "Your method is ahead by 4 points over three seeds, with the interval [-6, 14]. What"
            " may you write?"
        ),
        choices=[
            Choice(
                "On this task, with these settings and three seeds, the two cannot be told apart.",
                why="The interval holds 0. It also holds 14, so equality is not shown either."
                " More seeds would narrow it.",
                correct=True,
            ),
            Choice(
                "Your method is 4 points better.",
                why="A method that is 6 points worse could also give such seeds.",
            ),
            Choice(
                "The two methods are equally good.",
                why="Not to see a difference is not to see equality: 14 points are possible too.",
            ),
        ],
    ),
]
