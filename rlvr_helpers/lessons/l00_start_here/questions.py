"""Predictions and quiz of lesson 00."""

from rlvr_helpers.exercises.questions import Choice, Prediction, Question

PREDICTIONS = [
    Prediction(
        "start_accuracy",
        lesson="00",
        question="What share of 200 new problems does the model get right before any practice?",
        unit="%",
    ),
    Prediction(
        "after_a_minute", lesson="00", question="And after about one minute of practice?", unit="%"
    ),
    Prediction(
        "without_it",
        lesson="00",
        question=(
            "Before practice, and not allowed to begin with the word It: what share is correct?"
        ),
        unit="%",
    ),
]

QUIZ = [
    # Advantages compare within a group. They do not punish a bad one.
    Question(
        "all_incorrect",
        text="All eight answers of a group are incorrect. What does the update do to them?",
        choices=[
            Choice(
                "Nothing",
                why="Every reward equals the group's mean, so every advantage is 0.",
                correct=True,
            ),
            Choice(
                "It makes all eight less likely",
                why="An answer is pushed down only if it is worse than its group, and none is.",
            ),
            Choice(
                "It makes the shortest one likelier",
                why="The length earns nothing here. All eight rewards are 0, and so is their mean.",
            ),
        ],
    ),
    # The reward pays for the result and never for the reasoning.
    Question(
        "lucky_guess",
        text="An answer hits the correct number by a guess, and half of its group is incorrect."
        " Which way does its own advantage push it?",
        choices=[
            Choice(
                "Up",
                why="The program reads only the number in the answer tag, and pays 1.",
                correct=True,
            ),
            Choice(
                "Down, since nothing was worked out",
                why="No part of this reward looks at the reasoning.",
            ),
            Choice(
                "Not at all",
                why="Its reward of 1 is above the mean of its group, so its advantage is above 0.",
            ),
        ],
    ),
    # Greedy accuracy can jump while the probabilities move slowly.
    Question(
        "greedy_jump",
        text="After five steps most greedy answers were correct, and most sampled ones were not."
        " Why?",
        choices=[
            Choice(
                "A greedy answer changes at once when another first word becomes the likeliest",
                why="Sampled answers follow the probabilities, which move in small steps.",
                correct=True,
            ),
            Choice(
                "Training uses the greedy answers",
                why="It is the other way round: every update uses sampled answers.",
            ),
            Choice(
                "The held-out problems are easier",
                why="Before training the two shares were the same, about 9 %.",
            ),
        ],
    ),
]
