"""The words of the token lens, see `words.py`."""

TOKEN_LENS = {
    # The controls.
    "question": "{question} (answer: {answer})",
    "method": "method",
    "all": "all three",
    "tint": "tint",
    "push": "the push",
    "change": "what it did",
    "update": "update",
    "updates": "after {n} updates",
    "one_update": "after 1 update",
    "play": "Play",
    "stop": "Stop",
    "reset": "Reset",
    # Beside a completion.
    "completion": "Completion {row}, {tokens} tokens",
    "reward": "R = {reward}",
    "flip": "Reward of completion {row} is {reward}. Press to flip it.",
    "advantage": "A = {a}",
    "length": "{tokens} tokens",
    # A token, as a screen reader says it.
    "token": "{token}: token {place} of {length} in completion {row}, probability {p}.",
    "says": "{method}: {way}, {share} of the gradient.",
    "pushed_up": "pushed up",
    "pushed_down": "pushed down",
    "no_push": "no push",
    "clip_binds": "the clip binds",
    # The chain: the calculation of one token, term by term.
    "chain": "The calculation of the chosen token",
    "chosen": "“{token}”, token {place} of {length} in completion {row}",
    "terms": {
        "R": "R",
        "mean": "mean, std",
        "A": "A",
        "logp_old": "logp_old",
        "logp_new": "logp_new",
        "ratio_token": "rho",
        "ratio_sequence": "s",
        "ratio_both": "rho, s",
        "clip": "clip",
        "min": "min",
        "weight": "weight",
        "loss": "loss",
        "gradient": "gradient",
        "did": "probability",
    },
    # What a term is, for several methods side by side.
    "means": {
        "R": "reward",
        "mean": "of the group",
        "A": "advantage",
        "logp_old": "when sampled",
        "logp_new": "now",
        "ratio_token": "how much likelier",
        "ratio_sequence": "of the sequence",
        "ratio_both": "of token, of sequence",
        "clip": "ratio in its range",
        "min": "the objective",
        "weight": "by aggregation",
        "loss": "its share",
        "gradient": "on its log-prob",
        "did": "after the update",
    },
    # What a term is, with its numbers, for one method.
    "formulas": {
        "R": "reward of this completion",
        "mean": "of the {size} rewards of the group",
        "A_std": "({R} − {mean}) / ({std} + 0.0001)",
        "A_none": "{R} − {mean}",
        "A_leave_one_out": "({R} − {mean}) × {size} / ({size} − 1)",
        "logp_old": "when it was sampled: probability {p_old}",
        "logp_new": "now: probability {p_new}",
        "ratio_token": "exp(logp_new − logp_old) = exp({d})",
        "ratio_sequence": "exp of the mean of logp_new − logp_old over its {length} tokens",
        "clip": "the ratio, kept within {low} and {high}",
        "min_same": "ratio × A, within the range: both terms are {plain}",
        "min_unclipped": "of {plain} and, clipped, {clipped}: the unclipped one",
        "min_clipped": "of {plain} and, clipped, {clipped}: the clipped one",
        "weight_sequence_mean": "1 / ({size} completions × {length} tokens)",
        "weight_constant": "1 / ({size} completions × budget of {budget})",
        "weight_token_mean": "1 / {tokens} tokens of the group",
        "loss": "its share: −weight × min",
        "gradient": "on its log-prob: weight × ratio × A, {share} of all",
        "gradient_binds": "none: the clip binds, min does not move with the ratio",
        "did_done": "what the update did to it: from {before} to",
        "did_last": "now {before}; this is the last update recorded",
        "did_flipped": "not recorded with these rewards",
    },
    # What else the model could have said.
    "alternatives": "What else it could have said",
    "after": "After “{before}”",
    "nothing": "the start",
    "noise": "noise {noise}",
    "chose": (
        "The noise fell between {start} and {end}: that is “{token}”, {p} of the line, "
        "a surprise of {surprise} nats."
    ),
    "interval": (
        "“{token}” has the piece from {start} to {end}, {p} of the line, a surprise of {surprise}"
        " nats: there the noise fell."
    ),
    # The legend.
    "key_up_push": "pushed up",
    "key_down_push": "pushed down (stronger: larger share)",
    "key_up_change": "likelier after this update",
    "key_down_change": "less likely after it",
    "key_clipped": "clip binds: no push",
    "key_framed": "binds for some methods only",
    "strips": "strips from above: {methods}",
    "key_surprise": (
        "the stronger the tint, the less likely the token was. "
        "Choose a token to see what else it could have said."
    ),
    # Where no script runs.
    "alt": (
        "A group of {rows} completions as text, each token tinted by what the next update of"
        " {method} does to it."
    ),
    "alt_simple": "{rows} completions as text, each token tinted by how unlikely it was.",
    "still": (
        "Live in JupyterLab once its cell has run: choose a token and see its whole calculation,"
        " flip a reward, change the method."
    ),
    "still_simple": (
        "Live in JupyterLab once its cell has run: choose a token and see what else it could have"
        " said."
    ),
}
