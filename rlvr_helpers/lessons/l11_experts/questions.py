"""Predictions and quiz of extras/11."""

from rlvr_helpers.exercises.questions import Choice, Prediction, Question

PREDICTIONS = [
    Prediction(
        "changed_sets",
        lesson="11",
        question=(
            "Eight experts that are exact copies, 8 updates on one rollout: which share of the"
            " expert sets (one per token and layer) changes?"
        ),
        unit="%",
    ),
    Prediction(
        "replay_gain",
        lesson="11",
        question=(
            "Then experts that differ (copies with noise, trained a little). 8 updates spread the"
            " tokens' log-ratios. By how many percent is that spread (sd) smaller if the updated"
            " model is replayed: each token sent to the experts that it had before the updates?"
        ),
        unit="%",
    ),
]

QUIZ = [
    Question(
        "why_it_jumps",
        text=(
            "A router's third expert overtakes its second by a hair. Why can the token's log-prob"
            " jump?"
        ),
        choices=[
            Choice(
                "Another expert's output enters the sum with a weight far from 0.",
                why="The weights of the chosen two add up to 1, so the second one is never small"
                " because it is last. If the two experts differ, the output jumps.",
                correct=True,
            ),
            Choice(
                "The router's weights jump.",
                why="They move by one small optimizer step. Only the choice is discontinuous.",
            ),
            Choice(
                "The new expert has never been trained.",
                why="It has: other tokens are sent to it. But it may compute something else.",
            ),
        ],
    ),
    Question(
        "copies_replayed",
        text=(
            "Updates have sent some tokens to other experts, but all experts still compute the"
            " same. What does replaying the old expert sets do to the ratios?"
        ),
        choices=[
            Choice(
                "Nothing: they are the same with replay and without.",
                why="The weights of the two add up to 1, and both compute the same. Routing"
                " matters only as far as experts differ.",
                correct=True,
            ),
            Choice(
                "They shrink, since routing noise is gone.",
                why="There is none: whichever experts are chosen, the output is the same.",
            ),
            Choice(
                "They grow, since tokens are sent to the wrong experts.",
                why="No expert is a wrong one while all compute the same.",
            ),
        ],
    ),
    Question(
        "what_gspo_averages",
        text="A few tokens of a completion jump because they are routed anew. What does GSPO see?",
        choices=[
            Choice(
                "Their sum, divided by the completion's length.",
                why="GSPO's log-ratio is the mean over the tokens. Single jumps are diluted, not"
                " removed.",
                correct=True,
            ),
            Choice(
                "Nothing: sequence ratios do not depend on routing.",
                why="Every token's log-prob is in the mean, the jumps as well.",
            ),
            Choice(
                "Their product, so the jumps add up.",
                why="That is the raw product. GSPO takes its n-th root, so the sum is divided by"
                " the length.",
            ),
        ],
    ),
]
