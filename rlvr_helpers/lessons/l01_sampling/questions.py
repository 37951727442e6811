"""Predictions and quiz of lesson 01."""

from rlvr_helpers.exercises.questions import Choice, Prediction, Question

PREDICTIONS = [
    Prediction(
        "half_the_surprise",
        lesson="01",
        question=(
            "The four completions have 110 tokens. How many of the most surprising ones make up"
            " half of all the surprise?"
        ),
        unit="tokens",
    ),
    Prediction(
        "own_place",
        lesson="01",
        question="Score each token with the logits at its own position: how many nats per token?",
        choices=("about -0.7, as sampled", "about -5, as by chance", "far below -5"),
    ),
]

QUIZ = [
    # A score belongs to the temperature that it is computed at.
    Question(
        "colder",
        text="At temperature 1 a token has probability 0.6, the only other one 0.4. You sample"
        " the first at temperature 0.5 and score it at temperature 1. Which probability does your"
        " score stand for?",
        choices=[
            Choice(
                "0.60, but it was sampled with probability 0.69",
                why="0.6² / (0.6² + 0.4²) = 0.69. What is scored is not what was sampled.",
                correct=True,
            ),
            Choice(
                "0.69, as it was sampled",
                why="A score knows only the logits and the temperature that you give it: here 1.",
            ),
            Choice(
                "0.50, since temperature 0.5 halves the differences",
                why="A temperature below 1 sharpens the distribution. It does not flatten it.",
            ),
        ],
    ),
    # The cumulative probability must pass the noise, in the order of the vocabulary.
    Question(
        "which_noise",
        text="The pieces of A, B and C are 0.5, 0.3 and 0.2 long, in this order. Which noise picks"
        " B?",
        choices=[
            Choice(
                "0.5",
                why="B is the first token whose cumulative probability, 0.8, is above 0.5.",
                correct=True,
            ),
            Choice("0.3", why="0.3 lies in the piece of A, which goes from 0 to 0.5."),
            Choice("0.8", why="The piece of B ends before 0.8. There the piece of C begins."),
        ],
    ),
    # The shift by one: logits predict the token after their position.
    Question(
        "first_token",
        text="A prompt has 26 tokens, counted from 0. Which logits score the first token of the"
        " completion?",
        choices=[
            Choice(
                "Those at position 25, the last of the prompt",
                why="Logits at a position predict the token after it.",
                correct=True,
            ),
            Choice(
                "Those at position 26, its own",
                why="The model has already read the token there. It predicts the one after it.",
            ),
            Choice(
                "None, since the first token has no log-prob",
                why="The prompt is before it, so the model does predict it.",
            ),
        ],
    ),
]
