"""Records many sampled answers to each held-out problem, by `tiny` before and after training
(extras/10).

    python -m rlvr_helpers.tools.record_many_answers --out data/rollouts/many_answers.json

You can stop it at any time; the same command continues with the problems that are missing. The
models are the start model, and what GRPO makes of it by the usual settings with seed 0, 1, ...

The file (`lessons.l10_reading_results.experiment.recorded_answers` reads it):

    samples      answers to each of the first problems of test, at temperature 1
    models       a model's name -> {answers, worked, rewards}
    answers      for each problem {answer: how often}: the answers in a closed tag that are the
                 correct answer to any of the problems
    worked       for each problem how many answers are correct and follow from the whole correct
                 working, written as the model was taught
    rewards      mean reward per training step, which tells whether it is the run of the recording
    provenance   settings, date, hardware
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from rlvr_helpers.engine.files import write_whole
from rlvr_helpers.engine.problem_words import LOSE
from rlvr_helpers.methods import GRPO
from rlvr_helpers.models import Policy, format_prompt, load_policy
from rlvr_helpers.problems import Equation, Problem, load_problems
from rlvr_helpers.rewards import extract_answer, parse_number
from rlvr_helpers.sampling import sample_groups
from rlvr_helpers.study.runs import provenance, rounded
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train

SETTINGS = TrainSettings(track_kl=False)
PROBLEMS = 100
SAMPLES = 128


def working(question: str) -> str:
    """The equations that solve a problem of `tiny`, as the model was taught to write them."""
    first, *sentences, _ = question.split(". ")
    total = int(re.search(r"\d+", first)[0])
    equations = []
    for sentence in sentences:
        verb = sentence.split()[1]
        number, *each = map(int, re.findall(r"\d+", sentence))
        # somebody else's things change nothing
        if verb == "has":
            continue
        if each:
            equations.append(Equation(number, "x", *each))
            number = equations[-1].result
        equations.append(Equation(total, "-" if verb in LOSE else "+", number))
        total = equations[-1].result
    return " ".join(f"{equation}." for equation in equations)


def counted(texts: list[str], problem: Problem, answers: set[str]) -> tuple[dict[str, int], int]:
    """Of one problem's texts: answer -> how often it is given, for those in `answers`, and how many
    are correct with the whole working."""
    given = [parse_number(extract_answer(text) or "") for text in texts]
    pairs = zip(texts, given, strict=True)
    lines = working(problem.question)
    worked = sum(answer == problem.answer and lines in text for text, answer in pairs)
    return dict(Counter(answer for answer in given if answer in answers)), worked


def add_answers(model: dict[str, list], policy: Policy, problems: list[Problem]) -> Iterator[None]:
    """Adds one problem after the other to what the file holds of a model, `answers` and `worked`.
    The noise of a problem is that of its number."""
    answers = {problem.answer for problem in problems}
    for number in range(len(model["worked"]), len(problems)):
        noise = torch.Generator().manual_seed(number)
        prompts = [format_prompt(policy, problems[number].question)]
        rollout = sample_groups(
            policy, prompts, SAMPLES, max_tokens=SETTINGS.max_tokens, generator=noise
        )
        counts, worked = counted(rollout.texts, problems[number], answers)
        model["answers"].append(counts)
        model["worked"].append(worked)
        yield


def trained(seed: int) -> tuple[Policy, list[float]]:
    """`tiny` after GRPO, and the mean reward of each step."""
    policy = load_policy("tiny")
    settings = TrainSettings(track_kl=False, seed=seed)
    records = list(train(policy, load_problems("train"), GRPO, settings=settings))
    return policy, [record.reward_mean for record in records]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1, help="trained models")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = {"samples": SAMPLES, "models": {}, "provenance": provenance("tiny", "tiny")}
    if options.out.exists():
        data = json.loads(options.out.read_text(encoding="utf-8"))
    problems = load_problems("test")[:PROBLEMS]
    for name in ("start", *(f"GRPO {seed}" for seed in range(options.seeds))):
        model = data["models"].setdefault(name, {"rewards": [], "answers": [], "worked": []})
        if len(model["worked"]) == len(problems):
            continue
        policy = load_policy("tiny")
        if name != "start":
            policy, rewards = trained(int(name.split()[1]))
            model["rewards"] = rounded(rewards)
        for _ in add_answers(model, policy, problems):
            text = json.dumps(data, separators=(",", ":")).replace("},{", "},\n{") + "\n"
            write_whole(options.out, lambda file, text=text: file.write(text.encode()))
            print(f"{name}: {len(model['worked'])} of {len(problems)} problems", flush=True)


if __name__ == "__main__":
    main()
