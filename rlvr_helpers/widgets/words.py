"""Every word that a live explorer shows, by explorer: the one place to translate.

The explorer fills in `{n}`.
"""

from rlvr_helpers.kit.language import translated
from rlvr_helpers.widgets.lens_words import TOKEN_LENS
from rlvr_helpers.widgets.stage_words import CLIP_STAGE

__all__ = ["CLIP_STAGE", "KL_BARS", "ONE_GROUP", "PAY_OR_NOT", "SAMPLER", "TOKEN_LENS", "VOTES"]

# Lesson 00: eight answers to one problem, from sampling to the update.
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
    # Every answer begins with this tag. Its first word is what the update moves.
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

# Lesson 01: the number line that a random number falls on.
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

# Lesson 07: how hard the loss pushes each token.
VOTES = {
    "alt": "The four rollouts as text, over each token a bar: how hard the loss pushes it.",
    "still": (
        "Under sequence_mean each answer has one vote, and its tokens share it. Live in JupyterLab"
        " once its cell has run: change the aggregation, a reward, or where an answer ends."
    ),
    "intro": (
        "A bar is a token's vote: its weight in the loss times A = R − mean. Blue pushes it up,"
        " orange down. Drag the end of an answer, click a reward, change the divisor."
    ),
    "how": "aggregation",
    "used_by": {"sequence_mean": "GRPO, GSPO", "constant": "Dr. GRPO", "token_mean": "DAPO"},
    "budget": "budget L_max",
    "reset": "Reset",
    "reward": "R = {reward}",
    "flip": "Reward of {name} is {reward}. Press to flip it.",
    "about": "{n} tokens, A = {a}",
    "end": "End of the answer {name}",
    "tokens": "{n} tokens",
    # What a screen reader says of a token.
    "heard": "{word}, vote {vote} thousandths",
    "heard_cut": "{word}, cut off",
    "sums": (
        "In percent: each answer's share of all votes. All together, in thousandths: {totals}."
    ),
    "chosen": (
        "“{word}”, token {place} of {n} of {name}: weight {formula} = {weight} thousandths, times A"
        " = {a}, is a vote of {vote} thousandths."
    ),
    "chosen_cut": "“{word}” is cut off: it has no vote.",
    "formulas": {
        "sequence_mean": "1 / ({rows} answers × {n} tokens)",
        "constant": "1 / ({rows} answers × budget {budget})",
        "token_mean": "1 / {all} tokens",
    },
}

# Lesson 07: a policy of twenty tokens beside its reference.
KL_BARS = {
    "alt": "A policy as twenty bars, and a reference with two humps as ticks over them.",
    "still": (
        "The policy sits on one hump of the reference. KL(policy || reference) is {kl}. Live in"
        " JupyterLab once its cell has run: drag the bars, choose a term, let it act."
    ),
    "intro": (
        "Bars: the policy. Ticks: the reference. Arrows: where the chosen term pushes the"
        " policy, on average over its own samples. Drag a bar, or take steps."
    ),
    "bars": "Probabilities of twenty tokens",
    "bar": "Probability of token {name}",
    "term": "term",
    "terms": {
        "k1": "k1 in the loss",
        "k2": "k2 in the loss",
        "k3": "k3 in the loss",
        "reward": "k1 in the reward",
    },
    "step": "Take a step",
    "play": "Play",
    "pause": "Pause",
    "start": "policy",
    "starts": {"one": "on one hump", "flat": "flat"},
    "reset": "Reset",
    "columns": ["mean", "sd", "of the chosen"],
    "forward": "KL(policy || reference) = {kl}",
    "backward": "KL(reference || policy) = {kl}",
    "does": {
        "k1": "k1 in the loss: its gradient is 0 on average. Nothing moves, whatever the KL.",
        "k2": (
            "k2 in the loss: the gradient of KL(policy || reference). It pushes hardest where the"
            " policy is, and hardly sees a hump that the policy never samples."
        ),
        "k3": (
            "k3 in the loss: the gradient of KL(reference || policy), p − p_ref. It fills the hump"
            " that the policy has lost."
        ),
        "reward": (
            "k1 taken off the reward: A = −k1 carries the gradient of KL(policy || reference),"
            " the same as k2 in the loss."
        ),
    },
}

# Lesson 02: the reader judges ten texts before the reward does.
PAY_OR_NOT = {
    "rule": "Which of these completions does the reward pay? Beside each stands the known answer.",
    "row": "Text {row}: pay or not?",
    "pay": "Pay 1",
    "refuse": "Pay nothing",
    "verdicts": ["Not so.", "Correct."],
    "answer": "{verdict} {why}",
    "score": "{good} of {done} correct, {all} texts",
    "reset": "Play again",
    "alt": "Ten completions with the known answer of each: which does the reward pay?",
    "still": "Live in JupyterLab once its cell has run: pay each text or not, and read why.",
}

# Lesson 09: recorded runs, step by step.
RUN_EXPLORER = {
    "alt": "Held-out accuracy of {runs} runs against training steps, {low} to {high} % at the end.",
    "long": (
        "Live, it shows any step of any run: curves of all methods over each other, their ratios"
        " with the clip ranges, and the answers to one problem as they change."
    ),
    "step": "step",
    "step_value": "step {n}",
    "before": "before training",
    "seed": "seed",
    "quantity": "Curves of",
    "quantities": {
        "accuracy": "held-out accuracy",
        "reward_mean": "reward",
        "clip_fraction": "clipped share",
        "entropy": "entropy",
        "kl": "KL to the start",
        "length_mean": "length",
    },
    "methods": "Methods",
    "hide": "Show or hide {name}",
    "play": "Play",
    "pause": "Pause",
    # The names of the drawings, for a screen reader.
    "curves": "{quantity} against steps",
    "cursor": "Step on the curves",
    "none": "not measured",
    "levels": {"token": "token ratios", "sequence": "sequence ratios"},
    "spread": "{name}: sd {spread}",
    "height": "height: square root of the share; a bracket is a clip range, in its method's colour",
    "histogram": "Histogram of {level} at step {n}",
    "answers": "One problem, answered greedily (underlined: what changed last)",
    "samples": "One problem, sampled in each method's first run (underlined: what changed last)",
    "problem": "Problem {n} of {all}",
    "sample": "Sample {n} of {all}",
    "previous": "Previous problem",
    "next": "Next problem",
    "question": "{question} (answer: {answer})",
    "correct": "correct",
    "incorrect": "incorrect",
    "changed": "since step {n}",
    "from_start": "as at the start",
    "strip": "Steps at which {name} is correct: {share} of {all}",
    "no_answers": "These runs kept no answers.",
}

# Lesson 00: the loop of a training step, the table of lessons, and the learner's copies.
LOOP = {
    "stages": [
        ("sample", "8 answers to each problem"),
        ("reward", "1 if correct, else 0"),
        ("advantage", "better than its group?"),
        ("update", "likelier, or less likely"),
    ],
    "again": "the next step samples from the changed model",
    "alt": "The loop: sample, then reward, then advantage, then update, then sample again.",
}
LESSON_TABLE = ["Notebook", "Question", "Minutes"]
MY_WORK = {
    "copied": "my_work: {copied} notebooks copied, {there} were there and stay as they are.",
    "advice": (
        "Work in that folder. For a fresh copy of one lesson, rename yours and run this again."
    ),
}

# Live training: the controls and the line that says how far it is.
DASHBOARD = {
    "stop": "Stop",
    "stop_hint": "Stop after this step and keep what was learnt",
    "all_panels": "All panels",
    "starting": "Starting: the first rollout is being sampled.",
    "stopping": "Stopping after this step.",
    "status": "{label}: step {n} of {all}, reward {reward}, {left} s left",
    "ends": ["Done", "Stopped"],
    "end": "{word} after {n} of {all} steps, {seconds} s. What was learnt is kept.",
    "read_back": "{word}: {n} of {all} steps, {read} of them read back from finished runs.",
}

# Each explorer finds its words in the reader's language.
_SHOWN = {name: words for name, words in globals().items() if name.isupper()}
globals().update(translated(_SHOWN))
