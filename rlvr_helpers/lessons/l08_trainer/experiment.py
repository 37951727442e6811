"""The bug hunt of lesson 08: five trainers with one planted bug each. This file holds the answers.

    python -m rlvr_helpers.lessons.l08_trainer.experiment --out data/runs/bug_hunt
    python -m rlvr_helpers.lessons.l08_trainer.experiment --out hunts/monday --seed 7

The second command makes a hunt that nobody has seen, with other letters and other noise. It prints
the key. Learners open the hunt with `Hunt("hunts/monday")`.

A buggy trainer is the course's own `train` with another function for one of its stages. Letters A
to E stand for the bugs in a fixed order.
"""

import argparse
import hashlib
import json
import random
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.utils import ModelOutput

from rlvr_helpers.advantages import group_advantages, groups_without_signal
from rlvr_helpers.losses import PolicyLoss, policy_loss
from rlvr_helpers.methods import GRPO, Method
from rlvr_helpers.models import Policy, load_policy
from rlvr_helpers.paths import DATA
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.records import StepRecord
from rlvr_helpers.sampling import Rollout
from rlvr_helpers.scoring import score_tokens
from rlvr_helpers.study.runs import Run, load_run, provenance, save_run
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import Stages, sample_step, train

FOLDER = DATA / "runs" / "bug_hunt"
HEALTHY = "healthy"
LETTERS = ("A", "B", "C", "D", "E")
# Not at temperature 1, so that a forgotten temperature is a bug at all.
SETTINGS = TrainSettings(
    steps=10, temperature=0.8, learning_rate=4e-5, warmup_steps=2, decay_steps=None
)


# --- stages of the trainer, each with a bug that people really make


def mask_of_ones(*args: object) -> Rollout:
    """The rollout with padding counted as generated."""
    rollout = sample_step(*args)
    return replace(rollout, mask=torch.ones_like(rollout.mask))


class OneLater(torch.nn.Module):
    """A model whose logits stand one position too early: at t those that belong to t + 1."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: Tensor) -> ModelOutput:
        """The output of the model, its logits rolled by one position."""
        out = self.model(**inputs)
        out.logits = out.logits.roll(-1, dims=1)
        return out


def score_shifted(model: torch.nn.Module, *given: Any) -> tuple[Tensor, Tensor | None]:
    """Each token is scored by the logits of its own position, which have seen it already."""
    # Group size 1: the wrapper cannot read a prompt once for its whole group.
    *rows, temperature, _group_size = given[:6]
    return score_tokens(OneLater(model), *rows, temperature, 1, *given[6:])


def score_at_one(model: torch.nn.Module, *given: Any) -> tuple[Tensor, Tensor | None]:
    """Logits are not divided by the temperature of sampling."""
    *rows, _temperature, group_size = given[:6]
    return score_tokens(model, *rows, 1.0, group_size, *given[6:])


def mean_over_width(method: Method, *given: Any) -> PolicyLoss:
    """A row's sum is divided by the padded width instead of the row's own length."""
    # The divisor of "constant", with the width in the place of the budget.
    *rows, mask, _max_tokens = given[:5]
    method = replace(method, aggregation="constant")
    return policy_loss(method, *rows, mask, mask.shape[1], *given[5:])


def as_one_group(rewards: Tensor) -> Tensor:
    return rewards.reshape(1, -1)


def advantages_of_batch(rewards: Tensor, scale: str) -> Tensor:
    """All answers of the batch are one group."""
    return group_advantages(as_one_group(rewards), scale).view_as(rewards)


def silent_batch(rewards: Tensor) -> Tensor:
    return groups_without_signal(as_one_group(rewards)).expand(len(rewards))


# --- the suspects


@dataclass(frozen=True)
class Suspect:
    """A bug: what it is, the stages that have it, what gives it away, and how it is fixed.

    stages: None for a suspect that is in no run
    sign:   sign(record, healthy) says what its dial must show and what it shows, from the first
            record of a run and of the healthy run. Both come from the same rollout.
    dial:   where to look, for a hint
    """

    name: str
    stages: Stages | None
    sign: Callable[[StepRecord, StepRecord], str]
    remedy: str
    dial: str


def lengths_sign(record: StepRecord, healthy: StepRecord) -> str:
    return (
        "padding that counts makes every answer as long as the padded batch, right and wrong"
        f" alike; at step 1 this run reports {record.length_right:.1f} tokens for right answers and"
        f" {record.length_wrong:.1f} for wrong ones, of the same rollout in which the healthy run"
        f" counts {healthy.length_right:.1f} and {healthy.length_wrong:.1f}"
    )


def shift_sign(record: StepRecord, healthy: StepRecord) -> str:
    return (
        "a token that is scored one place off is a token the model would never say, tens of nats"
        " from what the sampler saw, while the lengths stay right; here the sampler gap is"
        f" {record.sampler_gap:.2g} nats and the answers have {record.length_mean:.1f} tokens"
        f" ({healthy.length_mean:.1f} in the healthy run)"
    )


def temperature_sign(record: StepRecord, healthy: StepRecord) -> str:
    return (
        "another temperature scores another distribution, so at step 1 the same model on the same"
        " rollout has another entropy, and sampler and trainer differ by a nat or two; here the"
        f" entropy is {record.entropy:.3f} ({healthy.entropy:.3f} in the healthy run) and the gap"
        f" {record.sampler_gap:.2g} nats"
    )


def width_sign(record: StepRecord, healthy: StepRecord) -> str:
    return (
        "dividing every row by one width lets long rows weigh more, so that advantages no longer"
        " cancel: it moves GRPO's loss away from 0 and leaves what the sampler saw alone; here the"
        f" loss of step 1 is {record.loss:.4f} ({healthy.loss:.4f} in the healthy run), the sampler"
        f" gap {record.sampler_gap:.2g} nats"
    )


def group_sign(record: StepRecord, healthy: StepRecord) -> str:
    groups = SETTINGS.prompts_per_step
    size = SETTINGS.group_size
    correct = round(record.accuracy * groups * size)
    return (
        f"compared over the whole batch no group is ever without signal, although {correct}"
        f" correct answers can stand in at most {min(correct, groups)} of {groups} groups, so that"
        f" at least {max(0, groups - correct)} have none; here the share without signal at step 1"
        f" is {record.no_signal:.0%}"
    )


def anew_sign(record: StepRecord, healthy: StepRecord) -> str:
    return (
        "with fresh old log-probs every ratio is 1 at every update, so that nothing is ever"
        f" clipped; here the clip binds on {record.clip_fraction:.1%} of tokens in step 1"
        f" ({healthy.clip_fraction:.1%} in the healthy run)"
    )


SUSPECTS = {
    1: Suspect(
        "padding counts as generated tokens",
        Stages(sample=mask_of_ones),
        lengths_sign,
        remedy=(
            "carry the mask from sampling: 1 up to and including the first end token (lesson 01)"
        ),
        dial="length_right and length_wrong",
    ),
    2: Suspect(
        "log-probs are shifted by one position",
        Stages(score=score_shifted),
        shift_sign,
        remedy=(
            "the logits one position earlier predict a token: logits[:, :-1] for ids[:, 1:]"
            " (lesson 01)"
        ),
        dial="sampler_gap, against the lengths",
    ),
    3: Suspect(
        "log-probs at another temperature than was sampled",
        Stages(score=score_at_one),
        temperature_sign,
        remedy=(
            "divide the logits by the sampling temperature wherever log-probs are computed"
            " (lesson 01)"
        ),
        dial="entropy",
    ),
    4: Suspect(
        "the mean of a row runs over its padding",
        Stages(loss=mean_over_width),
        width_sign,
        remedy=(
            "divide by mask.sum(dim=1), or by the budget if Dr. GRPO is meant, never by the width"
            " of the batch (lesson 07). For certain it is found with one update a rollout, where"
            " GRPO's loss must be 0, or by a test on rows of different lengths against a slow loop"
        ),
        dial="loss",
    ),
    5: Suspect(
        "advantages across groups instead of within",
        Stages(advantages=advantages_of_batch, no_signal=silent_batch),
        group_sign,
        remedy=(
            "compare an answer with the others to the same prompt: mean and std along dim=1 of [P,"
            " G] (lesson 04)"
        ),
        dial="no_signal, against the accuracy",
    ),
    6: Suspect(
        "old log-probs are computed anew before each update",
        None,
        anew_sign,
        remedy="score the whole rollout once, before the first update (lesson 05)",
        dial="clip_fraction",
    ),
}
# The key of the course's hunt: which suspect is planted in the run of each letter.
_PLANTED = dict(zip(LETTERS, (3, 1, 4, 5, 2), strict=True))


def suspects() -> None:
    """Prints the bugs with their numbers. One of them is in no run."""
    for number, suspect in SUSPECTS.items():
        print(f"{number}  {suspect.name}")


# --- runs


def train_suspect(
    letter: str,
    policy: Policy | None = None,
    problems: list[Problem] | None = None,
    **settings: object,
) -> Iterator[StepRecord]:
    """Trains `tiny` with the bug of a letter ("healthy": with none). `settings` are changes to
    SETTINGS."""
    stages = SUSPECTS[_PLANTED[letter]].stages if letter != HEALTHY else Stages()
    policy = policy or load_policy("tiny")
    problems = problems or load_problems("train")
    return train(policy, problems, GRPO, settings=replace(SETTINGS, **settings), stages=stages)


def load_hunt(folder: Path = FOLDER) -> dict[str, list[StepRecord]]:
    """The records of the six runs: "healthy", then "A" to "E"."""
    return {name: load_run(folder / f"{name}.json").records for name in (HEALTHY, *LETTERS)}


def record_hunt(folder: Path, order: Sequence[str] = LETTERS, **settings: object) -> dict[str, int]:
    """Trains the six runs, saves them, and returns the key: suspect by letter. The first letter
    gets the bug of `order[0]`, and so on.

    `settings` are changes to SETTINGS. With another order and another seed it is a hunt that nobody
    has seen.
    """
    command = "python -m rlvr_helpers.lessons.l08_trainer.experiment"
    for name, bug in zip((HEALTHY, *LETTERS), (HEALTHY, *order), strict=True):
        # `train` notices two of the bugs, and warns.
        with warnings.catch_warnings(action="ignore"):
            records = list(train_suspect(bug, **settings))
        made = provenance("tiny", "tiny", command=command, run=name)
        run = Run(GRPO, replace(SETTINGS, **settings), records, provenance=made)
        save_run(run, folder / f"{name}.json")
    return {letter: _PLANTED[bug] for letter, bug in zip(LETTERS, order, strict=True)}


def weights_after(
    loop: Callable[..., Iterator] | None, method: Method, settings: TrainSettings
) -> Tensor:
    """All weights of `tiny` in one vector, after the first step of a training loop. Without a loop
    they are those before training."""
    policy = load_policy("tiny")
    if loop:
        next(loop(policy, load_problems("train"), method, settings))
    return torch.cat([weight.detach().flatten() for weight in policy.model.parameters()])


# --- guesses


def check_guess(
    letter: str,
    guess: int | str | None,
    records: dict[str, list[StepRecord]] | None = None,
    planted: dict[str, int] = _PLANTED,
) -> bool:
    """Whether the bug of a run is the one with this number. Says what gives it away, or what speaks
    against the guess.

    records, planted: of a hunt other than the course's.
    """
    # A letter and a number, or what is wrong with them.
    letter = str(letter).strip().upper()
    if letter not in LETTERS:
        print(f"there is no run {letter!r}: choose from {', '.join(LETTERS)}")
        return False
    if guess is None or str(guess).strip() in ("?", "", "..."):
        print(f"{letter}: no guess yet")
        return False
    number = int(guess) if str(guess).strip().isdecimal() else None
    if number not in SUSPECTS:
        print(
            f"{letter}: a guess is a number from 1 to {len(SUSPECTS)}, as suspects() lists them,"
            f" not {guess!r}"
        )
        return False
    # What the suspect's dial shows in the first record of the run.
    records = records or load_hunt()
    suspect = SUSPECTS[number]
    sign = suspect.sign(records[letter][0], records[HEALTHY][0])
    # The verdict.
    if number != planted[letter]:
        say(f"{letter}: not {number}, {suspect.name}.", f"What speaks against it: {sign}.")
        return False
    found = f"What gives it away: {sign}."
    say(f"{letter}: correct, {suspect.name}.", found, f"The remedy: {suspect.remedy}.")
    return True


def say(first: str, *more: str) -> None:
    """Prints a line, and paragraphs under it that are set in."""
    print(first)
    for text in more:
        print(textwrap.fill(text, 100, initial_indent="   ", subsequent_indent="   "))


# --- a hunt's key, which nobody reads by accident


def digest(letter: str, number: int) -> str:
    return hashlib.sha256(f"bug hunt {letter} {number}".encode()).hexdigest()[:16]


def write_key(folder: Path, key: dict[str, int]) -> None:
    digests = {letter: digest(letter, number) for letter, number in key.items()}
    (folder / "key.json").write_text(json.dumps(digests), encoding="utf-8")


def read_key(folder: Path) -> dict[str, int]:
    """The number of the bug by letter. Without a key in the folder, that of the course's hunt."""
    file = folder / "key.json"
    if not file.exists():
        return _PLANTED
    digests = json.loads(file.read_text(encoding="utf-8"))
    # There are so few suspects that all can be tried.
    return {
        letter: next(number for number in SUSPECTS if digest(letter, number) == found)
        for letter, found in digests.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--seed", type=int, help="a fresh hunt: other letters, other noise")
    options = parser.parse_args()
    # One thread, so that the numbers do not depend on how many cores there are.
    torch.set_num_threads(1)
    # The course's own hunt.
    if options.seed is None:
        record_hunt(options.out)
        return
    # A fresh one, with its key beside it.
    order = random.Random(options.seed).sample(LETTERS, len(LETTERS))
    key = record_hunt(options.out, order, seed=options.seed)
    write_key(options.out, key)
    print(f"the key, for whoever teaches: {key}")


if __name__ == "__main__":
    main()
