"""Each printed solution passes its own check and equals the package's function; wrong answers get
the right advice."""

import ast
import inspect
import math
import random
import re
import sys
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from wrong_answers import ANSWERS

from rlvr_helpers import advantages, clipping, gradient, losses, ratios, rewards, sampling, scoring
from rlvr_helpers.exercises import check, solution
from rlvr_helpers.exercises.core import Case, outcomes, registry, same, solution_source
from rlvr_helpers.methods import METHODS

LESSONS = {"01", "02", "03", "04", "05", "06", "07", "08", "10", "12", "13"}
EXERCISES = {name: exercise for name, exercise in registry().items() if exercise.lesson in LESSONS}
each_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    """The progress file of a test."""
    monkeypatch.setenv("RLVR_PROGRESS", str(tmp_path / "progress.json"))


# --- the solutions


@each_exercise
def test_a_printed_solution_passes_its_own_check(exercise, capsys):
    solution(exercise.name)
    text = capsys.readouterr().out
    cell = {"torch": torch, "math": math, "re": re, "F": F}
    exec(text, cell)
    assert check(exercise.name, cell[exercise.name]) is True
    assert "rlvr_helpers.exercises" not in text


def lines_of(source: str) -> int:
    """Lines of a function as one would write it by hand, without its docstring: a statement each,
    however the formatter breaks it up."""
    tree = ast.parse(source)
    has_docstring = ast.get_docstring(tree.body[0]) is not None
    return len(ast.unparse(tree).splitlines()) - has_docstring


@each_exercise
def test_a_solution_is_three_to_eight_lines(exercise):
    # a step of an optimizer is four lines by itself
    longest = 12 if exercise.name == "take_updates" else 8
    assert 2 <= lines_of(inspect.getsource(exercise.reference)) <= longest
    assert solution_source(exercise).endswith(inspect.getsource(exercise.reference))


@pytest.mark.parametrize("lesson", sorted({exercise.lesson for exercise in EXERCISES.values()}))
def test_a_mistake_is_a_lambda_of_at_most_three_lines(lesson):
    exercises = [exercise for exercise in EXERCISES.values() if exercise.lesson == lesson]
    tree = ast.parse(inspect.getsource(sys.modules[exercises[0].reference.__module__]))
    tables = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
    ]
    functions = [
        value.elts[0]
        for table in tables
        for value in table.values
        if len(getattr(value, "elts", [])) == 2
    ]
    assert len(functions) == sum(len(exercise.mistakes) for exercise in exercises)
    for function in functions:
        assert isinstance(function, ast.Lambda) and len(ast.unparse(function)) <= 3 * 96, (
            ast.unparse(function)
        )


# --- the package's functions


def some_mask(rows: int, width: int) -> torch.Tensor:
    return (torch.arange(width) < torch.randint(0, width + 1, (rows, 1))).long()


def random_logprobs(rows: int, width: int) -> torch.Tensor:
    return -3 * torch.rand(rows, width, dtype=torch.float64)


def random_text(pieces: list[str]) -> str:
    return "".join(random.choices(pieces, k=random.randint(1, 8)))


def random_number() -> str:
    whole = random.choice(
        ["0", "72", "1080", "1,080", "12,345,678", "072", "1,08", "10,80", "999999999999999999"]
    )
    number = (
        random.choice(["", "-", "+"])
        + random.choice(["", "$"])
        + whole
        + random.choice(["", ".0", ".50", ".125"])
    )
    return number + random.choice(
        ["", "", "%", " %", " clips", " clips per day", " or 3", "x", "e3", "/2"]
    )


TAGS = ["<reasoning>", "</reasoning>", "<answer>", "</answer>", "<answer>", "</answer>"]
WORDS = [" ", " 72 ", " 72.0 ", "\n", " cat ", " Cat"]


def pick_tokens_inputs():
    return 3 * torch.randn(6, 20), torch.rand(6), random.choice([0.5, 1.0, 2.0])


def mask_inputs():
    return torch.randint(0, 9, (5, 12)), random.choice([(1,), (1, 8), (3, 4, 5)])


def logprob_inputs():
    return (
        torch.randn(3, 6, 20),
        torch.randint(0, 20, (3, 5)),
        some_mask(3, 5),
        random.choice([0.5, 1.0, 2.0]),
    )


def group_inputs(*more):
    rewards = torch.randint(0, 3, (8, 4)).double() / 2
    return (rewards, *more)


def policy_inputs():
    return random_logprobs(4, 6), random_logprobs(4, 6), some_mask(4, 6)


def clip_inputs():
    shape = random.choice([(5, 7), (5, 1)])
    return (
        torch.randn(5, 7).double().exp(),
        torch.randn(shape).double(),
        random.random(),
        random.random(),
    )


def aggregate_inputs():
    how = random.choice(["sequence_mean", "constant", "token_mean"])
    sizes = random.choice([(), (9, 40)])
    return random_logprobs(4, 6), some_mask(4, 6), how, 8, *sizes


def method_inputs():
    method = replace(random.choice(list(METHODS.values())), kl_coef=random.choice([0.0, 0.5]))
    new, old, mask = policy_inputs()
    return method, new, old, torch.randn(4).double(), mask, 8, random_logprobs(4, 6)


def accumulated_inputs():
    method, *tensors, _ = method_inputs()
    return replace(method, kl_coef=0.0), *tensors, random.randint(1, 5)


# Of each exercise with a counterpart in the package: that, and random inputs.
PACKAGE = {
    "pick_tokens": (sampling.pick_tokens, pick_tokens_inputs),
    "mask_after_end": (sampling.mask_after_end, mask_inputs),
    "logprobs_from_logits": (scoring.logprobs_from_logits, logprob_inputs),
    "extract_answer": (rewards.extract_answer, lambda: (random_text(TAGS + WORDS),)),
    "answers_match": (rewards.answers_match, lambda: (random_number(), random_number())),
    "format_reward": (rewards.format_reward, lambda: (random_text(TAGS[:4] + WORDS[:3]),)),
    "groups_without_signal": (advantages.groups_without_signal, group_inputs),
    "group_advantages": (
        advantages.group_advantages,
        lambda: group_inputs(random.choice(["std", "none", "leave_one_out"])),
    ),
    "score_function_gradient": (
        gradient.score_function_gradient,
        lambda: (torch.randn(5).double(), torch.randint(0, 5, (9,)), torch.randn(9).double()),
    ),
    "surrogate_loss": (
        gradient.surrogate_loss,
        lambda: (random_logprobs(4, 6), torch.randn(4).double(), some_mask(4, 6)),
    ),
    "token_ratios": (ratios.token_ratios, policy_inputs),
    "sequence_ratios": (ratios.sequence_ratios, policy_inputs),
    "clipped_objective": (clipping.clipped_objective, clip_inputs),
    "clip_binds": (clipping.clip_binds, clip_inputs),
    "range_that_binds": (clipping.range_that_binds, lambda: (*clip_inputs()[:2], random.random())),
    "aggregate": (losses.aggregate, aggregate_inputs),
    "method_loss": (lambda *args: losses.policy_loss(*args).loss, method_inputs),
    "accumulated_loss": (lambda *args: losses.policy_loss(*args[:-1]).loss, accumulated_inputs),
    "kl_estimate": (
        losses.kl_estimate,
        lambda: (random_logprobs(3, 4), random_logprobs(3, 4), random.choice(["k1", "k2", "k3"])),
    ),
}


@pytest.mark.parametrize("name", PACKAGE)
def test_a_solution_equals_the_package_function_on_random_inputs(name):
    """Value and, where the exercise judges it, gradient."""
    torch.manual_seed(0)
    random.seed(0)
    function, inputs = PACKAGE[name]
    cases = [Case(str(number), inputs()) for number in range(200)]
    exercise = replace(EXERCISES[name], cases=lambda: cases)
    pairs = zip(
        cases, outcomes(exercise, exercise.reference), outcomes(exercise, function), strict=True
    )
    for case, ours, theirs in pairs:
        assert not ours.error and same(exercise, ours, theirs), case.args


@pytest.mark.parametrize(
    "name", [name for name in PACKAGE if name not in ("method_loss", "accumulated_loss")]
)
def test_the_package_function_is_no_answer(name, capsys):
    assert check(name, PACKAGE[name][0]) is False
    if name != "answers_match":  # the exercise's rules are stricter
        assert "the course's own function" in capsys.readouterr().out


# --- wrong answers


@each_exercise
def test_three_of_four_wrong_answers_get_the_right_advice(exercise, capsys):
    advice_by_message = {mistake.message: mistake.name for mistake in exercise.mistakes}
    hits = 0
    for advice, function in ANSWERS[exercise.name]:
        assert check(exercise.name, function) is False, advice
        said = [line.removeprefix("Likely: ") for line in capsys.readouterr().out.splitlines()]
        hits += any(advice_by_message.get(line) in advice.split("|") for line in said)
    asked = len(ANSWERS[exercise.name])
    assert asked >= 8 and hits >= 0.75 * asked


# Functions that the text of their exercise forbids, and what is said about them.
FORBIDDEN = {
    "kl_estimate": (
        lambda logp, ref, kind="k3": kl_of(ref - logp, kind),
        "constant: logp_ref.detach()",
    ),
    "token_ratios": (
        lambda new, old, mask: torch.where(mask.bool(), new - old, 0.0).exp(),
        "constant: logp_old.detach()",
    ),
    "sequence_ratios": (
        lambda new, old, mask: (
            torch.where(mask == 1, new - old, 0.0).sum(1) / mask.sum(1).clamp(min=1)
        ).exp(),
        "constant: logp_old.detach()",
    ),
    "extract_answer": (
        lambda text: rewards.extract_answer(re.sub(r"<answer>[^<]*(?=<answer>)", "", text)),
        "opening tag in an open tag, then a good one",
    ),
    "answers_match": (
        lambda predicted, gold: rewards.answers_match(
            re.sub(r"(?<=\d)\.$", "", predicted or ""), gold
        ),
        "a point without decimals",
    ),
    "groups_without_signal": (lambda rewards: rewards.std(dim=1) < 1e-5, "tolerance"),
    "problem_weight": (
        lambda right, size, scale="std": registry()["problem_weight"].reference(
            right, size, "std" if scale == "std" else "none"
        ),
        "2 of 6 correct, leave_one_out: expected",
    ),
    "logprobs_from_logits": (
        lambda logits, ids, mask, temperature: (
            (logits[:, :-1].float() / temperature)
            .softmax(-1)
            .log()
            .gather(-1, ids[..., None])[..., 0]
            * mask
        ),
        "log_softmax",
    ),
    "group_advantages": (
        lambda rewards, scale="std": (
            rewards - rewards.mean(1, keepdim=True)
            if scale == "none"
            else advantages.group_advantages(rewards, scale)
        ),
        "rounding error",
    ),
}


def kl_of(x, kind):
    return {"k1": -x, "k2": x.square() / 2, "k3": x.exp() - x - 1}[kind]


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_the_text_forbids_is_refused(name, capsys):
    function, words = FORBIDDEN[name]
    assert check(name, function) is False
    assert words in capsys.readouterr().out


def split_in_five(text):
    """Four tags, whichever they are, of which the first opens the reasoning."""
    pieces = [piece.strip() for piece in re.split(r"</?(?:reasoning|answer)>", text)]
    return float(
        len(pieces) == 5
        and text.strip().startswith("<reasoning>")
        and not pieces[0] + pieces[2] + pieces[4]
        and pieces[1] != ""
        and pieces[3] != ""
    )


def no_clamp(logits, noise, temperature):
    logp = (logits / temperature).log_softmax(dim=1)
    tokens = torch.searchsorted(logp.exp().cumsum(dim=1), noise[:, None], right=True)
    return tokens[:, 0], logp.gather(1, tokens)[:, 0]


def first_sum_above(logits, noise, temperature):
    p = (logits / temperature).softmax(dim=1)
    tokens = (p.cumsum(dim=1) > noise[:, None]).int().argmax(dim=1)
    return tokens, p.log().gather(1, tokens[:, None])[:, 0]


def divided_in_bfloat16(logits, ids, mask, temperature):
    logp = (logits[:, :-1] / temperature).float().log_softmax(dim=-1)
    return logp.gather(-1, ids[..., None])[..., 0] * mask


def unless_nested(text):
    blocks = []
    for block in re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL):
        if "<answer>" not in block:
            blocks.append(block.strip())
    return blocks[0] if len({rewards.parse_number(b) or b for b in blocks}) == 1 else None


def noise_across_the_tokens(logits, noise, temperature):
    logp = (logits / temperature).log_softmax(dim=1)
    tokens = (logp.exp().cumsum(dim=1) <= noise).sum(dim=1).clamp(max=logits.shape[1] - 1)
    return tokens, logp.gather(1, tokens[:, None])[:, 0]


ONCE_RIGHT = [
    ("format_reward", split_in_five, "a block that is never closed passes"),
    ("extract_answer", unless_nested, "leave out only the block"),
    ("pick_tokens", no_clamp, "your token can be V"),
    ("pick_tokens", no_clamp, "noise=[0.99999994] * 40"),
    ("pick_tokens", noise_across_the_tokens, "Likely: your noise is [B] and the sums are [B, V]"),
    ("pick_tokens", first_sum_above, "argmax gives token 0"),
    ("logprobs_from_logits", divided_in_bfloat16, "divide by the temperature in bfloat16"),
]


@pytest.mark.parametrize(("name", "function", "words"), ONCE_RIGHT)
def test_answers_that_once_passed_are_refused_with_advice(name, function, words, capsys):
    assert check(name, function) is False
    assert words in capsys.readouterr().out
