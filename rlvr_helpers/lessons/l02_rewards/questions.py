"""Predictions and quiz of lesson 02."""

from rlvr_helpers.exercises.questions import Choice, Prediction, Question
from rlvr_helpers.lessons.l02_rewards.experiment import WAYS

PREDICTIONS = [
    Prediction(
        "my_hack", lesson="02", question="What will the model learn from your reward?", choices=WAYS
    ),
    Prediction(
        "correct_after",
        lesson="02",
        question=(
            "And after 8 steps on it: in what share of 200 new problems is the number in the answer"
            " tag correct?"
        ),
        unit="%",
    ),
]

QUIZ = [
    # The best of a group is pushed up, even if it is no answer.
    Question(
        "half_a_point",
        text="A text without a readable answer earns half a point. In a group of eight one text is"
        " such, seven answers are incorrect. What does the update do?",
        choices=[
            Choice(
                "It makes the text without an answer likelier",
                why="Its 0.5 is above the mean of 0.06, so its advantage is the only positive one.",
                correct=True,
            ),
            Choice(
                "Nothing, since none of the eight is correct",
                why="Advantages compare rewards with their mean, and these rewards differ.",
            ),
            Choice(
                "It makes all eight less likely",
                why="Advantages of a group add up to 0: some are above, some are below.",
            ),
        ],
    ),
    # Two answers that differ are no answer.
    Question(
        "second_try",
        text="The known answer is 24. Why is <answer> 25 </answer> <answer> 24 </answer> not paid?",
        choices=[
            Choice(
                "If any matching tag were paid, the model could learn to list numbers until one"
                " hits",
                why="Several answers count only if they agree.",
                correct=True,
            ),
            Choice(
                "Because the reward reads only the first tag",
                why="It reads all of them. With 24 first it would not be paid either.",
            ),
            Choice(
                "Because the model changed its mind",
                why="A reward knows no minds. Two tags with 24 would be paid.",
            ),
        ],
    ),
    # What is paid can rise while the skill stays as it was.
    Question(
        "format_or_maths",
        text="Strict accuracy rises from 12 to 72 %, lenient accuracy goes from 78 to 74 %. What"
        " was learnt?",
        choices=[
            Choice(
                "To put the number into the tag",
                why="About as many were correct before as after. Now they stand in the tag.",
                correct=True,
            ),
            Choice(
                "To calculate better",
                why="Then the lenient count would have risen too: it reads numbers anywhere.",
            ),
            Choice(
                "Nothing, the two cancel",
                why="They measure different things. The strict one is what was paid, and it rose.",
            ),
        ],
    ),
]
