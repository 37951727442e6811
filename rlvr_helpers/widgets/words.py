"""Every word that a live explorer shows, by explorer: the one file to translate. `{n}` is filled in
by the explorer."""

TOKEN_LENS = {
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
    # beside a completion
    "completion": "Completion {row}, {tokens} tokens",
    "reward": "R = {reward}",
    "flip": "Reward of completion {row} is {reward}. Press to flip it.",
    "advantage": "A = {a}",
    "length": "{tokens} tokens",
    # a token, as a screen reader says it
    "token": "{token}: token {place} of {length} in completion {row}, probability {p}.",
    "says": "{method}: {way}, {share} of the gradient.",
    "pushed_up": "pushed up",
    "pushed_down": "pushed down",
    "no_push": "no push",
    "clip_binds": "the clip binds",
    # the chain
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
    "means": {  # where several methods stand beside each other
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
    # what else it could have said
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
    # the legend
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
    # where no script runs
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

CLIP_STAGE = {
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
        "Each dot is a token of a real rollout. Its arrow is the push of the next update, uphill."
        " On flat ground there is no push: grey. Drag the edges, or any dot."
    ),
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
    "after": {"one": "1 update without a rule", "many": "{n} updates without a rule"},
    "count": {
        "none": "{after}. Nothing stops a push.",
        "clamp": "{after}. This one stops {stopped} of {all} {unit} ({share}) and traps {wrong}.",
        "minimum": (
            "{after}. This one stops {stopped} of {all} {unit} ({share}) and pulls {wrong} back."
        ),
    },
    "count_hidden": "Your guess first: where does the push of this token end?",
    "lanes": [
        "A > 0: better than its group, pushed up",
        "A < 0: worse than its group, pushed down",
    ],
    "axis": "ratio q, on a log scale that is finer near 1",
    "axis_most": "ratio q, finer near 1; bar: 98 % of the dots, {low} to {high}",
    "edge_clip_low": "Lower edge of the range",
    "edge_clip_high": "Upper edge of the range",
    "edge_value": "ratio {q}, epsilon {eps}",
    "reached": "▼ largest ratio in training",
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

ONE_GROUP = {
    "question": "{question} (answer: {answer})",
    "stage": "step",
    "stages": {
        "sample": "1 sample",
        "reward": "2 reward",
        "advantage": "3 advantage",
        "update": "4 update",
    },
    "reset": "Marks as they were",
    "opening": "<reasoning>",
    "verdicts": ["incorrect", "correct"],
    "mark": "Answer {row} is marked {verdict}. Press to change it.",
    "unmarked": "Not marked yet",
    "first": "How likely each first word is",
    "others": "other",
    "before": "before",
    "after": "after the update",
    "stands": "{word}: {before}.",
    "moved": "{word}: {before} before, {after} after.",
    "notes": {
        "sample": "Eight answers to one problem, with chance in every word. Go to step 2.",
        "reward": (
            "A program marks each answer: 1 if the number in the answer tag is correct, else 0."
            " {n} of 8 are marked correct."
        ),
        "advantage": (
            "The advantage A is an answer's reward minus the mean reward of the group."
            " Above the mean: say this more often. Below: less often."
        ),
        "update": (
            "One real update with these marks: “It” goes from {before} to {after}."
            " Change a mark and see what the update would have done."
        ),
        "equal": "All eight have one mark: every advantage is 0, and the update changes nothing.",
    },
    "alt": "Eight answers, their marks, and the first word before and after one update: {told}.",
    "still": (
        "Live in JupyterLab once its cell has run: go through the four steps, change a mark and"
        " see what the update would have done."
    ),
}

SAMPLER = {
    "question": "{question} (answer: {answer})",
    "sentence": "The sentence so far",
    "back": "Go back to before “{token}”",
    "noise": "noise",
    "needle": "The noise, as a needle on the line",
    "temperature": "temperature",
    "next": "Next token",
    "finish": "Finish the sentence",
    "restart": "Start again",
    "picked": (
        "The noise falls into the piece of “{token}”, from {start} to {end}: {p} of the line,"
        " a log-prob of {logp} nats."
    ),
    "ended": "The completion has ended. Click a word to go back to it and say something else.",
    "waiting": "Asking the model what comes next.",
    "unrecorded": (
        "What comes next here was not recorded. In JupyterLab the model is asked. Click a word to"
        " go back."
    ),
    "branches": "Branches that you left or finished",
    "alt": (
        "The line from 0 to 1 in pieces, one for each word. The noise {noise} falls into “{token}”,"
        " {share} % of the line."
    ),
    "still": (
        "Live in JupyterLab once its cell has run: drag the noise and the temperature, choose the"
        " next token, go back and let the sentence branch."
    ),
}
