"""Predictions and quiz of lesson 03."""

from rlvr_helpers.exercises.questions import Choice, Prediction, Question

PREDICTIONS = [
    Prediction(
        "one_step",
        lesson="03",
        question=(
            "About 20 % of the answers to one problem are correct. Then all weights take one short"
            " step along a direction computed from 256 answers and their rewards. What percent of"
            " new answers is correct?"
        ),
        unit="%",
    ),
    Prediction(
        "pushed_up",
        lesson="03",
        question=(
            "Only the two correct completions have a reward. How many of the four become likelier?"
        ),
        unit="of 4",
    ),
    Prediction(
        "long_step",
        lesson="03",
        question=(
            "A step of 0.02 helped. What percent of the answers is correct after a step of 0.1"
            " along the same direction?"
        ),
        unit="%",
    ),
]

QUIZ = [
    # A reward of 0 pushes nothing, not even down.
    Question(
        "all_rewards_zero",
        text=(
            "All 64 sampled answers have reward 0, and each is pushed by its reward. What does the"
            " step do?"
        ),
        choices=[
            Choice(
                "Nothing.",
                why="Each push is the reward times a score, and 0 times any score is 0.",
                correct=True,
            ),
            Choice(
                "It makes all 64 answers less likely.",
                why="A reward of 0 pushes nothing. It would take a reward below 0 to push down.",
            ),
            Choice(
                "It makes answers likelier that were not sampled.",
                why=(
                    "That happens when sampled answers are pushed down. Here nothing is pushed at"
                    " all."
                ),
            ),
        ],
    ),
    # The size of a reward is a factor of the step.
    Question(
        "reward_of_ten",
        text=(
            "A correct answer is paid 10 instead of 1. The step is learning rate times gradient"
            " (not 0.02 long, as at the top). What changes?"
        ),
        choices=[
            Choice(
                "The step is ten times as long, in the same direction.",
                why="The reward multiplies every push, so the gradient is ten times as long.",
                correct=True,
            ),
            Choice(
                "Nothing: only the order of the rewards counts.",
                why="The reward is a factor in the gradient. Lesson 04 can divide it out.",
            ),
            Choice(
                "The direction turns towards the correct answers.",
                why="Every push is multiplied by the same 10, so their balance stays what it was.",
            ),
        ],
    ),
    # The surrogate's gradient means something, its value does not.
    Question(
        "loss_and_progress",
        text="In training the share of correct answers rises. What does the surrogate loss do?",
        choices=[
            Choice(
                "It can rise or fall: as a number it means nothing.",
                why=(
                    "Each step has new answers and so another loss. It shares its gradient with"
                    " minus J at one point, not its value."
                ),
                correct=True,
            ),
            Choice(
                "It falls, since every step goes downhill.",
                why=(
                    "A step lowers the loss of its own batch. The next batch has another loss, with"
                    " more rewarded answers in it."
                ),
            ),
            Choice(
                "It stays at 0.",
                why="It is minus the mean of reward times log-prob, which is above 0 here.",
            ),
        ],
    ),
]
