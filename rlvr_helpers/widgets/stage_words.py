"""The words of the clip stage, see `words.py`."""

CLIP_STAGE = {
    # The names of the picture, and the text where no script runs.
    "title": "The clip stage",
    "stage": "The stage",
    "alt": (
        "Tokens of a rollout as dots on the slopes of the clipped objective, for A > 0 and A < 0."
        " {stopped} of {all} are stopped."
    ),
    "long": (
        "Above, the objective for A > 0 rises with the ratio and is flat above 1.2. Below, the"
        " objective for A < 0 falls with the ratio and is flat below 0.8. After {n} updates"
        " {stopped} of {all} tokens lie on flat ground."
    ),
    "intro": (
        "Dots: tokens (or completions) after updates without a rule. Arrows: the next push. On flat"
        " ground: none, grey. Drag an edge or a dot."
    ),
    # The controls.
    "presets": "Set up as",
    "rule": "Rule",
    "rule_none": "none",
    "rule_clamp": "clamp only",
    "rule_minimum": "minimum",
    "unit": "Ratio of",
    "unit_token": "token",
    "unit_sequence": "sequence",
    "unit_product": "product",
    "units": {"token": "tokens", "sequence": "sequences", "product": "products"},
    "reset": "Reset",
    "clip_low": "clip_low",
    "clip_high": "clip_high",
    "update": "Updates",
    "play": "Play",
    "pause": "Pause",
    "trails": "trails",
    # The sentence above the lanes.
    "after": {"one": "After 1 update", "many": "After {n} updates"},
    "count": {
        "none": "{after} nothing stops a push.",
        "clamp": "{after} the clamp stops {stopped} of {all} {unit} ({share}) and traps {wrong}.",
        "minimum": (
            "{after} the minimum stops {stopped} of {all} {unit} ({share}), pushes {wrong} back."
        ),
    },
    "count_hidden": "Your guess first: where does the push of this token end?",
    # The two lanes of dots, their axis and its edges.
    "lanes": [
        "A > 0: better than its group, pushed up",
        "A < 0: worse than its group, pushed down",
    ],
    "axis": "ratio q, on a log scale that is finer near 1",
    "axis_most": "ratio q, finer near 1; bar: 98 % of the dots, {low} to {high}",
    "edge_clip_low": "Lower edge of the range",
    "edge_clip_high": "Upper edge of the range",
    "edge_value": "ratio {q}, epsilon {eps}",
    "reached": "▼ largest in training by this rule",
    # The chosen dot and its completion.
    "dot": "Chosen token",
    "dot_value": "{token}, ratio {q}",
    "tag": {"token": "“{token}”  ρ = {q}", "sequence": "s = {q}", "product": "∏ρ = {q}"},
    "tokens": "Tokens of the completion",
    "token": {
        "up": "{token}, ratio {q}, pushed up",
        "down": "{token}, ratio {q}, pushed down",
        "stopped": "{token}, ratio {q}, stopped",
        "hidden": "{token}, ratio {q}",
    },
    "previous": "Previous completion",
    "next": "Next completion",
    "completion": {
        "right": "Completion {n} of {all}: correct",
        "wrong": "Completion {n} of {all}: incorrect",
    },
    # The calculation of the chosen dot, line by line.
    "lines": {
        "ratio": "{q}",
        "advantage": "A",
        "plain": "{q} A",
        "clipped": "clip({q}) A",
        "push": "push",
    },
    "symbols": {"token": "ρ", "sequence": "s", "product": "∏ρ"},
    "ratio_of": {
        "token": "exp({d})",
        "sequence": "exp(mean of {n}: {d})",
        "product": "exp(sum of {n}: {d})",
    },
    "advantage_of": {"std": "(R − mean) / std", "none": "R − mean, as in Dr. GRPO"},
    "wins": {
        "none": "counts",
        "clamp": "counts",
        "minimum": "is smaller: counts",
        "same": "both terms are equal",
    },
    "push_of": {
        "token": "gradient on its log-prob",
        "sequence": "gradient, one for all tokens",
        "product": "gradient on each log-prob",
    },
    "push_zero": "the objective is flat",
    # What happens to the dot: by the rule, by where its ratio is, and by the sign of A.
    "says": {
        "none": {
            "up": "No rule: it is pushed up at every ratio.",
            "down": "No rule: it is pushed down at every ratio.",
        },
        "inside": {
            "up": "Its ratio may still rise: it is pushed up.",
            "down": "Its ratio may still fall: it is pushed down.",
        },
        "far": {
            "up": "It has risen far enough: above the upper edge the objective is flat.",
            "down": "It has fallen far enough: below the lower edge the objective is flat.",
        },
        "trapped": {
            "up": (
                "It fell, though its answer is better. The clamp is flat here too: nothing brings"
                " it back."
            ),
            "down": (
                "It rose, though its answer is worse. The clamp is flat here too: nothing brings it"
                " back."
            ),
        },
        "back": {
            "up": (
                "It fell, though its answer is better. The minimum keeps the plain term: it is"
                " pushed back up."
            ),
            "down": (
                "It rose, though its answer is worse. The minimum keeps the plain term: it is"
                " pushed back down."
            ),
        },
    },
    # The guess: where does the push end?
    "predict": "Guess another",
    "answer": "This is my guess",
    "skip": "Skip",
    "question": {
        "up": (
            "A > 0. The rule is “{rule}”, the range {low} to {high}. Drag the dot to the ratio at"
            " which its push ends."
        ),
        "down": (
            "A < 0. The rule is “{rule}”, the range {low} to {high}. Drag the dot to the ratio at"
            " which its push ends."
        ),
    },
    "guess": "your guess",
    "verdict": {
        "near": {
            "up": (
                "You guessed {guess}, and its push ends at {end}: the upper edge, since A > 0"
                " pushes up."
            ),
            "down": (
                "You guessed {guess}, and its push ends at {end}: the lower edge, since A < 0"
                " pushes down."
            ),
        },
        "off": {
            "up": (
                "You guessed {guess}. Its push ends at {end}, {off} away: the upper edge, since A >"
                " 0 pushes up."
            ),
            "down": (
                "You guessed {guess}. Its push ends at {end}, {off} away: the lower edge, since A <"
                " 0 pushes down."
            ),
        },
        "never": "You guessed {guess}. Without a rule its push never ends.",
        "trapped": (
            "You guessed {guess}. The clamp stops it where it stands, at {q}: outside the range on"
            " either side."
        ),
    },
    # The recorded runs of the rule that is chosen.
    "training": "What training did",
    "arm": "with “{rule}”, {unit}{range}.",
    "range_of": ", range {span}",
    "nearest": "Of those recorded it is nearest to your {span}.",
    "with_std": "Recorded with GRPO's advantages.",
    "not_recorded": (
        "with the product: not recorded. Its log is a sum over tokens, so it grows with the length."
    ),
    "recorded_ranges": "Recorded ranges",
    "held_out": "accuracy, {n} held-out problems",
    "rollouts": "rollouts",
    "curves": "Held-out accuracy over eight rollouts, at the end {ends} percent",
    "row_accuracy": "accuracy, %",
    "row_stopped": "stopped, %",
    "row_largest": "largest ratio",
    "seed": "seed",
    "take_range": "Range {span}: accuracy at the end {ends} percent",
}
