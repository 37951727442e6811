"""What was recorded: runs, a drift of ratios, a group, and the four rollouts of all lessons.

The four are right and short, right and long, wrong and short, wrong and long.

    four = four_rollouts()
    four.texts, four.rewards, four.mask, four.logprobs["start"]

They are real completions of one problem by `tiny`. `tools/record_rollouts.py` made them
(`data/README.md`).
"""

import json
from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr_helpers.methods import METHODS
from rlvr_helpers.paths import DATA
from rlvr_helpers.study.runs import Run, load_run


@dataclass(frozen=True)
class FourRollouts:
    """Four completions of one question, right-padded: B = 4 rows in the order of `kinds`, T
    positions.

    prompt_ids, prompt_mask:  [B, Tp], the same prompt in every row
    completion_ids, mask:     [B, T]. The mask is 1 up to and including the end token.
    rewards:                  [B], 1 or 0
    truncated:                [B], True where the budget of `max_tokens` cut the completion off
    noise:                    [B, T] the uniform numbers that chose the tokens, 0 on padding
    tokens, texts:            the tokens of each row as strings, and the texts without special
                              tokens
    logprobs:                 [B, T] in nats by model: "start", "after 1 steps", "after 30 steps" of
                              GRPO, 0 on padding
    """

    question: str
    answer: str
    prompt: str
    max_tokens: int
    kinds: list[str]
    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    mask: Tensor
    rewards: Tensor
    truncated: Tensor
    noise: Tensor
    tokens: list[list[str]]
    texts: list[str]
    logprobs: dict[str, Tensor]

    @property
    def lengths(self) -> Tensor:
        """Tokens of each completion, [B], the end token included."""
        return self.mask.sum(dim=1)


def four_rollouts() -> FourRollouts:
    """Reads the four recorded rollouts."""
    data = json.loads((DATA / "rollouts" / "four.json").read_text(encoding="utf-8"))
    rows = data["rollouts"]
    # The prompt is stored once, since it is the same in every row.
    prompt_ids = torch.tensor(data["prompt_ids"]).expand(len(rows), -1)
    # Rows are stored without padding: the lengths of the ids give the mask.
    return FourRollouts(
        question=data["question"],
        answer=data["answer"],
        prompt=data["prompt"],
        max_tokens=data["max_tokens"],
        kinds=[row["kind"] for row in rows],
        prompt_ids=prompt_ids,
        prompt_mask=torch.ones_like(prompt_ids),
        completion_ids=_rectangle([row["ids"] for row in rows]),
        mask=_rectangle([[1] * len(row["ids"]) for row in rows]),
        rewards=torch.tensor([row["reward"] for row in rows]),
        truncated=torch.tensor([row["truncated"] for row in rows]),
        noise=_rectangle([row["noise"] for row in rows]),
        tokens=[row["tokens"] for row in rows],
        texts=[row["text"] for row in rows],
        logprobs={
            name: _rectangle([row["logprobs"][name] for row in rows])
            for name in rows[0]["logprobs"]
        },
    )


def _rectangle(rows: list[list]) -> Tensor:
    """Rows of different lengths as one tensor, filled up with 0 on the right (the pad token of
    `tiny` is 0)."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


@dataclass(frozen=True)
class RecordedDrift:
    """How the ratios of one rollout drift apart over U = 16 updates without a clip
    (`tools/record_drift.py`). There are B = 64 rows of T positions, in groups of `group_size` = 8.

    log_ratios:  [U, B, T] logp_new - logp_old in nats after each update, [0] after the first. 0
                 where the mask is 0.
    mask:        [B, T]
    advantages:  [B], GRPO's
    rewards:     [B], 1 or 0
    logp_old:    [B, T] log-probs of the tokens under the model that sampled, in nats. 0 where the
                 mask is 0.
    tokens:      the tokens of each row as strings
    questions:   [P] the problems. `answers` are their correct answers.
    """

    log_ratios: Tensor
    mask: Tensor
    advantages: Tensor
    rewards: Tensor
    logp_old: Tensor
    tokens: list[list[str]]
    questions: list[str]
    answers: list[str]
    group_size: int = 8

    @property
    def updates(self) -> int:
        """U, how many updates were taken."""
        return len(self.log_ratios)

    @property
    def lengths(self) -> Tensor:
        """Tokens of each completion, [B], the end token included."""
        return self.mask.sum(dim=1)

    def for_page(self, unit: float) -> dict:
        """What explorers read: the tokens of all rows, and the log-ratios in whole numbers of
        `unit` nats, each update's as steps from the one before, [U, tokens]."""
        whole = torch.round(self.log_ratios[:, self.mask.bool()].double() / unit).long()
        flat = [token for row in self.tokens for token in row]
        vocabulary = sorted(set(flat))
        ids = {token: i for i, token in enumerate(vocabulary)}
        return {
            "unit": unit,
            "steps": torch.cat([whole[:1], whole.diff(dim=0)]).tolist(),
            "lengths": self.lengths.tolist(),
            "vocabulary": vocabulary,
            "tokens": [ids[token] for token in flat],
        }


def recorded_drift() -> RecordedDrift:
    """Reads the recorded drift."""
    data = json.loads((DATA / "rollouts" / "drift.json").read_text(encoding="utf-8"))
    # Log-ratios are stored as whole numbers of 1e-5 nats.
    return RecordedDrift(
        log_ratios=torch.stack([_rectangle(rows) for rows in data["log_ratios"]]) * 1e-5,
        mask=_rectangle([[1] * n for n in data["lengths"]]),
        advantages=torch.tensor(data["advantages"]),
        rewards=torch.tensor(data["rewards"]),
        logp_old=_rectangle(data["logp_old"]),
        tokens=data["tokens"],
        questions=data["questions"],
        answers=data["answers"],
    )


@dataclass(frozen=True)
class RecordedGroup:
    """Eight completions of one problem, and what U = 16 updates on them did under each method
    (`tools/record_group.py`).

    prompt_ids, prompt_mask:  [B, Tp] with B = 8, the same prompt in every row
    completion_ids, mask:     [B, T], right-padded. The mask is 1 up to and including the end token.
    rewards:                  [B], 1 or 0
    noise:                    [B, T] the uniform numbers that chose the tokens, 0 on padding
    tokens:                   the tokens of each row as strings
    logprobs:                 [U + 1, B, T] in nats by method, before the first and after each
                              update, 0 on padding
    """

    question: str
    answer: str
    max_tokens: int
    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    mask: Tensor
    rewards: Tensor
    noise: Tensor
    tokens: list[list[str]]
    logprobs: dict[str, Tensor]


def recorded_group() -> RecordedGroup:
    """Reads the recorded group."""
    data = json.loads((DATA / "rollouts" / "group.json").read_text(encoding="utf-8"))
    # The prompt is stored once, and rows without padding.
    prompt_ids = torch.tensor(data["prompt_ids"]).expand(len(data["ids"]), -1)

    def over_updates(steps: list) -> Tensor:
        """The first in full, then differences, in units of 1e-5 nats."""
        return torch.stack([_rectangle(step) for step in steps]).cumsum(dim=0) * 1e-5

    return RecordedGroup(
        question=data["question"],
        answer=data["answer"],
        max_tokens=data["max_tokens"],
        prompt_ids=prompt_ids,
        prompt_mask=torch.ones_like(prompt_ids),
        completion_ids=_rectangle(data["ids"]),
        mask=_rectangle([[1] * len(row) for row in data["ids"]]),
        rewards=torch.tensor(data["rewards"]),
        noise=_rectangle(data["noise"]),
        tokens=data["tokens"],
        logprobs={name: over_updates(steps) for name, steps in data["logprobs"].items()},
    )


def recorded_runs(policy: str = "tiny") -> dict[str, list[Run]]:
    """The recorded runs of a comparison by method, with seeds in order. `run_comparison` returns
    the same, so tables and plots take both.

    Raises ValueError that lists what is recorded.
    """
    folder = DATA / "runs" / policy
    # Every folder with runs in it is the name of a policy.
    there = sorted(
        path.name for path in (DATA / "runs").iterdir() if any(path.glob("*-seed*.json"))
    )
    if policy not in there:
        raise ValueError(f"no runs of {policy!r} are recorded: choose from {', '.join(there)}")
    # By method, GRPO, Dr. GRPO and GSPO first.
    runs = sorted(
        (load_run(path) for path in folder.glob("*-seed*.json")), key=lambda run: run.settings.seed
    )
    names = [*(m.name for m in METHODS.values()), *(run.method.name for run in runs)]
    by_name = {
        name: [run for run in runs if run.method.name == name] for name in dict.fromkeys(names)
    }
    return {name: group for name, group in by_name.items() if group}
