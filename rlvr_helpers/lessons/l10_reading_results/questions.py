"""Predictions and quiz of extras/10."""

from rlvr_helpers.exercises.questions import Choice, Prediction, Question

PREDICTIONS = [
    Prediction(
        "solved_once",
        lesson="10",
        question=(
            "The start model gives 128 answers to each of 100 problems. About 5 % of them are"
            " correct. Which share of the problems is solved at least once?"
        ),
        unit="%",
    ),
    Prediction(
        "solved_by_luck",
        lesson="10",
        question=(
            "Now grade its 128 answers to one problem by the correct answer of another. Which share"
            " of the problems is solved at least once?"
        ),
        unit="%",
    ),
    Prediction(
        "already_had",
        lesson="10",
        question=(
            "The script that this course grew from, *the first script*, reports a gain from 12 to"
            " 72 % (50 problems, one seed). Which share of the problems that GRPO gained had the"
            " correct number before training, with or without a tag (lenient, lesson 02)?"
        ),
        unit="%",
    ),
    Prediction(
        "problems_for_2_points",
        lesson="10",
        question=(
            "A true gain from 80 to 82 %, two models, each on problems of its own: how many"
            " problems must each solve, to find the gain in 80 of 100 repetitions?"
        ),
        unit="problems",
    ),
]

QUIZ = [
    Question(
        "same_at_128",
        text=(
            "Training lifts pass@1 from 20 to 70 %, and pass@128 stays at 95 %. What do these"
            " numbers show?"
        ),
        choices=[
            Choice(
                "Answers that were correct now and then became likelier.",
                why="What was reached before in 128 tries is now often reached in one. Whether the"
                " 95 % is skill needs a check for luck: many tries hit short numbers by chance.",
                correct=True,
            ),
            Choice(
                "The model learned to solve problems that it could not solve before.",
                why="pass@128 did not rise. Even a rise would be no proof: 128 tries can miss a"
                " rare skill.",
            ),
            Choice(
                "Training did nothing: the model solves the same 95 %.",
                why="Whoever takes one answer gets 70 % instead of 20 %. That is what training"
                " optimised.",
            ),
        ],
    ),
    Question(
        "what_is_missing",
        text=(
            "Two checkpoints solve 180 and 190 of the same 200 problems. What do you need for a"
            " paired test?"
        ),
        choices=[
            Choice(
                "On how many problems only one of them was correct",
                why="10 gained and none lost has p = 0.002. 20 gained and 10 lost has p = 0.10."
                " Both fit 180 and 190.",
                correct=True,
            ),
            Choice(
                "Nothing: 180, 190 and 200 are enough",
                why="They fit any number of losses from 0 to 10, and the p-value depends on it.",
            ),
            Choice(
                "More than one seed",
                why="Seeds tell about methods. Whether these two checkpoints differ is a question"
                " about problems.",
            ),
        ],
    ),
    Question(
        "best_of_seven",
        text=(
            "A paper picks the best of seven checkpoints on 200 test problems, and reports its"
            " accuracy on them. What do you expect on new problems?"
        ),
        choices=[
            Choice(
                "Less: it was picked partly for its luck on these 200",
                why="Of seven equally good checkpoints the best shows about 3 points too much."
                " Choose on other problems than you report.",
                correct=True,
            ),
            Choice(
                "The same: it is the best one",
                why="It may be the best and still have been lucky. Luck does not come along.",
            ),
            Choice(
                "Less, since it has seen the test problems",
                why="It was not trained on them. Picking alone flatters the figure.",
            ),
        ],
    ),
]
