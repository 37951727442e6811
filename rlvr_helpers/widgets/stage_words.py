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
        "Lines: objective. Dots: tokens after updates without a rule, to drag. Arrows: their own"
        " next push. Grey: none. Rings: same completion."
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
    "after": {"one": "After 1 update without a rule,", "many": "After {n} updates without a rule,"},
    "count": {
        "none": "{after} nothing stops a push.",
        "clamp": (
            "{after} the clamp would stop {stopped} of {all} {unit} ({share}), {wrong} of"
            " them trapped."
        ),
        "minimum": (
            "{after} the minimum would stop {stopped} of {all} {unit} ({share}) and push {wrong}"
            " others back."
        ),
    },
    "count_hidden": "Your guess first: at which ratio does the push of this token become 0?",
    # The two lanes of dots, their axis and its edges.
    "lanes": [
        "A > 0: better than its group. Push: ratio rises →",
        "A < 0: worse than its group. Push: ← ratio falls",
    ],
    "axis": "ratio {q}, on a log scale that is finer near 1",
    "axis_most": "ratio {q}, finer near 1; bar: 98 % of the dots, {low} to {high}",
    "edge_clip_low": "Lower edge of the range",
    "edge_clip_high": "Upper edge of the range",
    "edge_value": "ratio {q}, epsilon {eps}",
    # The chosen dot and its completion.
    "dot": "Chosen token",
    "dot_value": "{token}, ratio {q}",
    "tag": {
        "token": "“{token}”  ρ = {q}",
        "sequence": "all {n} tokens  s = {q}",
        "product": "all {n} tokens  ∏ρ = {q}",
    },
    "tokens": "Tokens of the completion",
    "token": {
        "up": "{token}, ratio {q}, its push raises it",
        "down": "{token}, ratio {q}, its push lowers it",
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
        "token": "on its log-prob",
        "sequence": "each of {n} tokens gets 1/{n}",
        "product": "on each token's log-prob",
    },
    "push_zero": "the objective is flat",
    # What happens to the dot: by the rule, by where its ratio is, and by the sign of A.
    "says": {
        "none": {
            "up": "No rule: its push raises its ratio, however large that is.",
            "down": "No rule: its push lowers its ratio, however small that is.",
        },
        "inside": {
            "up": "Its ratio may still rise: its push raises it.",
            "down": "Its ratio may still fall: its push lowers it.",
        },
        "sure": (
            "Its probability was {p} when it was sampled: its ratio cannot pass {most}, so the"
            " upper edge is out of reach."
        ),
        "far": {
            "up": "It has risen far enough: above the upper edge the objective is flat.",
            "down": "It has fallen far enough: below the lower edge the objective is flat.",
        },
        "trapped": {
            "up": (
                "It fell: pushes of other tokens move it too. The clamp is flat here: no push"
                " of its own brings it back."
            ),
            "down": (
                "It rose: pushes of other tokens move it too. The clamp is flat here: no push"
                " of its own brings it back."
            ),
        },
        "back": {
            "up": (
                "It fell: pushes of other tokens move it too. The minimum keeps its own push,"
                " back to the right."
            ),
            "down": (
                "It rose: pushes of other tokens move it too. The minimum keeps its own push,"
                " back to the left."
            ),
        },
    },
    # The guess: at which ratio does the push become 0?
    "predict": "Guess another",
    "answer": "This is my guess",
    "skip": "Skip",
    "question": {
        "up": "{means} Drag the dot to where its push, up, becomes 0.",
        "down": "{means} Drag the dot to where its push, down, becomes 0.",
    },
    "means": {
        "none": "No rule: {q} A counts.",
        "clamp": "The clamp: clip({q}) A counts, range {low} to {high}.",
        "minimum": "The smaller of {q} A and clip({q}) A counts, range {low} to {high}.",
    },
    "guess": "your guess",
    "away": ", {off} away",
    "verdict": {
        "up": (
            "You guessed {guess}. Its push becomes 0 at {end}{away}: above it clip({q}) A counts,"
            " which is flat."
        ),
        "down": (
            "You guessed {guess}. Its push becomes 0 at {end}{away}: below it clip({q}) A counts,"
            " which is flat."
        ),
        "never": "You guessed {guess}. Without a rule its push never becomes 0.",
        "trapped": (
            "You guessed {guess}. Its push is 0 where it stands, at {at}: beyond both edges"
            " clip({q}) A is flat."
        ),
    },
    # The recorded runs of the rule that is chosen.
    "training": "What training did",
    "arm": "with “{rule}”, {unit}{range}.",
    "range_of": ", range {span}",
    "nearest": "It is nearest to your {span}, a factor of {far} away.",
    "with_std": "Dr. GRPO was not trained here.",
    "not_recorded": (
        "with the product: not recorded. Its log is a sum over tokens, so it grows with the length."
    ),
    "held_out": "Held-out accuracy at the end, %, by seed",
    "range": "range",
    "take_range": "Range {span}",
    "measures": "Stopped on average: {stopped} %. Largest ratio: {largest}.",
}
