"""Predictions and quiz of lesson 12."""

from rlvr_helpers.exercises.questions import Choice, Prediction, Question

PREDICTIONS = [
    Prediction(
        "first_bytes",
        lesson="12",
        question=(
            "1.54 billion weights are trained by AdamW in float32. How many GB (billions of bytes)"
            " do weights, gradients and optimizer take before the first token?"
        ),
        unit="GB",
    ),
    Prediction(
        "eight_bits_off",
        lesson="12",
        question=(
            "The sampler's weights are rounded to 8 bits. For how many of its tokens is the"
            " trainer's probability more than 20 % away from the sampler's?"
        ),
        unit="%",
    ),
]

QUIZ = [
    Question(
        "which_step_is_long",
        text="The group grows from 8 to 16 completions per problem. What takes clearly longer?",
        choices=[
            Choice(
                "Only training.",
                why=(
                    "Sampling reads all weights once per token, whatever the number of rows."
                    " Training computes for each row."
                ),
                correct=True,
            ),
            Choice(
                "Only sampling: there are twice as many tokens to write.",
                why=(
                    "They are written side by side. With few rows the time goes into reading the"
                    " weights, and all rows share that."
                ),
            ),
            Choice(
                "Both, twice as long.",
                why="That holds for training. Sampling waits for reading, until the rows are many.",
            ),
        ],
    ),
    Question(
        "another_models_text",
        text=(
            "A 4-bit sampler writes the completions. The trainer computes the old log-probs itself,"
            " so every ratio starts at 1. Is the disagreement gone?"
        ),
        choices=[
            Choice(
                "No: the completions are still those of another model.",
                why=(
                    "Ratios compare the trainer with itself. Only a weight that knows the sampler's"
                    " log-probs can correct for who wrote the text."
                ),
                correct=True,
            ),
            Choice(
                "Yes: the clip sees nothing any more.",
                why="The clip sees nothing. That hides the disagreement and does not remove it.",
            ),
            Choice(
                "Yes: with advantages of a group it cancels.",
                why=(
                    "All completions of a group come from the wrong model. Subtracting their mean"
                    " does not change that."
                ),
            ),
        ],
    ),
    Question(
        "which_mode_bites",
        text=(
            "Sampler and trainer differ a little on each token. Which correction moves the weights"
            " furthest from 1?"
        ),
        choices=[
            Choice(
                "A weight for each sequence.",
                why=(
                    "It is a product, so small differences add up: 25 tokens of ratio 0.9 give"
                    " 0.07."
                ),
                correct=True,
            ),
            Choice(
                "A weight for each token: there are more of them.",
                why="There are more of them, but each is close to 1.",
            ),
            Choice(
                "They are the same: a sequence's weight is the mean of its tokens'.",
                why="It is their product here, not GSPO's mean of logs.",
            ),
        ],
    ),
]
