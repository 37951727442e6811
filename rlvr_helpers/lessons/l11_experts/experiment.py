"""A mixture of experts made from `tiny`: where each token is sent before and after some updates.

It also says what a token's ratio is if the old choice is kept. An expert set is the pair of experts
that a layer sends a token to.
"""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.hooks import RemovableHandle
from transformers import MixtralConfig, MixtralForCausalLM

from rlvr_helpers.engine.packing import pack
from rlvr_helpers.engine.work import Stages, sample_step
from rlvr_helpers.kit.recorded import recorded_drift
from rlvr_helpers.losses import policy_loss
from rlvr_helpers.methods import GRPO, Method
from rlvr_helpers.models import Policy, format_prompt
from rlvr_helpers.paths import DATA
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.records import StepRecord
from rlvr_helpers.sampling import Rollout, encode_prompts, sample_groups
from rlvr_helpers.scoring import score_tokens, token_logprobs
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train

# Experts per layer, and how many of them see a token.
EXPERTS = 8
CHOSEN = 2
# Settings of the dense model that a mixture has no use for.
NOT_SHARED = ("architectures", "model_type", "mlp_bias", "attention_bias", "pretraining_tp")
# As the drift recording: no clip, mini-batches of two groups of eight, a rate of 1e-5.
UNCLIPPED = replace(GRPO, clip_low=math.inf, clip_high=math.inf)
LEARNING_RATE = 1e-5
GROUP = 8
ROWS = 16
MAX_TOKENS = 64
# After which updates it is measured.
AT = (1, 4, 8, 16)
# How noisy a trained mixture's copies are, as a share of the standard deviation of each matrix.
JITTER = 0.3
# The arms of the recorded race that are compared.
RACE_PAIRS = (
    ("GSPO", "GRPO"),
    ("GSPO, replayed", "GRPO, replayed"),
    ("GRPO, replayed", "GRPO"),
    ("GSPO, replayed", "GSPO"),
)


class Rows(NamedTuple):
    """Completions in whole groups of 8: prompts [B, Tp], completions [B, T], and their masks."""

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    mask: Tensor

    def pick(self, rows: Tensor) -> "Rows":
        """Only the rows with these numbers."""
        return Rows(*(each[rows] for each in self))


def make_experts(policy: Policy, jitter: float = 0.0, seed: int = 0) -> MixtralForCausalLM:
    """The policy's model with each layer's MLP as 8 copies, of which a router chooses 2.

    jitter: noise on each copy, as a share of the standard deviation of the matrix. With 0 all
        experts are alike, and the model computes what the dense one does. The router is random.
    """
    # The dense model's configuration, with experts.
    dense = policy.model
    shared = {k: v for k, v in dense.config.to_dict().items() if k not in NOT_SHARED}
    config = MixtralConfig(**shared, num_local_experts=EXPERTS, num_experts_per_tok=CHOSEN)
    # The fastest on a CPU at this size.
    config._experts_implementation = "eager"
    noise = torch.Generator().manual_seed(seed)

    def copies(weight: Tensor) -> Tensor:
        """A matrix once per expert, each copy with noise of its own."""
        drawn = torch.randn(EXPERTS, *weight.shape, generator=noise)
        return weight + jitter * weight.std() * drawn

    model = MixtralForCausalLM(config).eval()
    with torch.no_grad():
        # What the two have in common: embeddings, attention, norms.
        model.load_state_dict(dense.state_dict(), strict=False)
        # The experts, copied from the MLP of the same layer, and a random router.
        for layer, own in zip(model.model.layers, dense.model.layers, strict=True):
            gate_up = torch.cat([own.mlp.gate_proj.weight, own.mlp.up_proj.weight])
            layer.mlp.experts.gate_up_proj.copy_(copies(gate_up))
            layer.mlp.experts.down_proj.copy_(copies(own.mlp.down_proj.weight))
            layer.mlp.gate.weight.normal_(std=0.1, generator=noise)
    return model


def routers(model: nn.Module) -> list[nn.Module]:
    """The router of each layer. A dense model has none."""
    return [layer.mlp.gate for layer in model.model.layers if hasattr(layer.mlp, "gate")]


@contextmanager
def recorded_routes(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collects the expert sets of one forward pass: per layer [positions, 2], sorted."""
    routes = []

    # The third output of a router holds the chosen experts.
    def note(router: nn.Module, inputs: tuple, output: tuple) -> None:
        routes.append(output[2].sort(dim=1).values)

    hooks = [router.register_forward_hook(note) for router in routers(model)]
    try:
        yield routes
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def replayed_routes(model: nn.Module, routes: Sequence[Tensor]) -> Iterator[None]:
    """Sends each position of a forward pass to the experts of `routes`, weighted by today's
    router. Without routes the router chooses."""

    def send(router: nn.Module, route: Tensor) -> RemovableHandle:
        def replaced(router: nn.Module, inputs: tuple, output: tuple) -> tuple:
            # The router's own probabilities, of the old experts only.
            weights = output[0].float().softmax(dim=-1).gather(1, route)
            return output[0], weights / weights.sum(dim=1, keepdim=True), route

        return router.register_forward_hook(replaced)

    hooks = [send(router, route) for router, route in zip(routers(model), routes, strict=False)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def logprobs(model: nn.Module, rows: Rows, routes: Sequence[Tensor] = ()) -> Tensor:
    """Log-probs [B, T] of the completions' tokens, under given expert sets if there are any."""
    with replayed_routes(model, routes):
        return token_logprobs(model, *rows, group_size=GROUP)


@torch.no_grad()
def score(model: nn.Module, rows: Rows) -> tuple[Tensor, list[Tensor]]:
    """Log-probs [B, T] and the expert sets [positions, 2] of each layer."""
    with recorded_routes(model) as routes:
        return logprobs(model, rows), routes


def drift_rows(policy: Policy) -> tuple[Rows, Tensor]:
    """The 64 completions of the drift recording (lesson 05) and their advantages [B]."""
    drift = recorded_drift()
    prompts = [format_prompt(policy, question) for question in drift.questions]
    ids, mask = (x.repeat_interleave(GROUP, 0) for x in encode_prompts(policy, prompts))
    tokens = [torch.tensor(policy.tokenizer.convert_tokens_to_ids(row)) for row in drift.tokens]
    completions = pad_sequence(tokens, batch_first=True, padding_value=policy.pad_id)
    return Rows(ids, mask, completions, mask=drift.mask), drift.advantages


@dataclass
class Moved:
    """What some updates have moved. N counts the tokens of all completions.

    row:        [N] the completion that a token belongs to, tokens of a completion in order
    changed:    [layers, N] True if a layer sends the token to another expert set than before
    log_ratios: [N] in nats. `replayed` are those under the old expert sets.
    """

    row: Tensor
    changed: Tensor
    log_ratios: Tensor
    replayed: Tensor

    @property
    def any_layer(self) -> Tensor:
        """[N] True if some layer sends the token to another set."""
        return self.changed.any(dim=0)

    def of_sequences(self, values: Tensor) -> Tensor:
        """The mean over the tokens of each completion, [B]: of log-ratios the log of GSPO's."""
        total = torch.zeros(int(self.row.max()) + 1).index_add_(0, self.row, values)
        return total / self.row.bincount()


def drift(
    model: nn.Module, rows: Rows, advantages: Tensor, at: Sequence[int] = AT, seed: int = 0
) -> Iterator[tuple[int, Moved]]:
    """Updates a model on one rollout. Yields (updates, what they have moved) for those in `at`.

    seed: of the order of the groups
    """
    # Mini-batches of two groups in random order, scored before the first update.
    order = torch.randperm(len(rows.mask) // GROUP, generator=torch.Generator().manual_seed(seed))
    parts = (order[:, None] * GROUP + torch.arange(GROUP)).view(-1, ROWS)
    batches = [rows.pick(part) for part in parts]
    old = [score(model, batch) for batch in batches]
    optimizer = make_optimizer(model, LEARNING_RATE)
    for update in range(1, max(at) + 1):
        # One optimizer step on the next mini-batch.
        turn = (update - 1) % len(parts)
        batch = batches[turn]
        logp_old, _ = old[turn]
        logp = logprobs(model, batch)
        advantage = advantages[parts[turn]]
        found = policy_loss(
            UNCLIPPED, logp, logp_old, advantages=advantage, mask=batch.mask, max_tokens=MAX_TOKENS
        )
        step(model, optimizer, found.loss)
        # What has moved in all mini-batches, with the row numbers of the whole rollout.
        if update in at:
            moved = [measure(model, each, *was) for each, was in zip(batches, old, strict=True)]
            for part, each in zip(parts, moved, strict=True):
                each.row = part[each.row]
            yield update, joined(moved)


def joined(moved: list[Moved]) -> Moved:
    """The mini-batches' tokens as one."""
    names = ("row", "changed", "log_ratios", "replayed")
    return Moved(*(torch.cat([getattr(each, name) for each in moved], dim=-1) for name in names))


def make_optimizer(model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """AdamW as the course's trainer uses it."""
    return torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.0
    )


def step(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One optimizer step with the gradient norm clipped at 1."""
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


@torch.no_grad()
def measure(model: nn.Module, rows: Rows, logp_old: Tensor, routes_old: list[Tensor]) -> Moved:
    """What has moved since `logp_old` and `routes_old` were scored."""
    keep = rows.mask.bool()
    logp, routes = score(model, rows)
    replayed = logprobs(model, rows, routes_old)
    # Where the packed pass reads the position that predicts each token.
    packed = pack(*rows, group_size=GROUP)
    at = packed.group * packed.ids.shape[1] + packed.index
    changed = [(a != b).any(dim=1)[at] for a, b in zip(routes, routes_old, strict=True)]
    return Moved(
        keep.nonzero()[:, 0],
        torch.stack(changed) if changed else torch.zeros(0, len(at), dtype=torch.bool),
        log_ratios=(logp - logp_old)[keep],
        replayed=(replayed - logp_old)[keep],
    )


def train_on_texts(
    model: nn.Module, policy: Policy, steps: int = 80, seed: int = 0, learning_rate: float = 3e-4
) -> None:
    """Trains a model on completions that the policy samples, correct or not, so that its router and
    experts find their parts. A step takes two groups of 8, with AdamW."""
    # The texts, sampled once.
    problems = load_problems("train")[: 2 * steps]
    prompts = [format_prompt(policy, problem.question) for problem in problems]
    noise = torch.Generator().manual_seed(seed)
    found = sample_groups(policy, prompts, GROUP, max_tokens=MAX_TOKENS, generator=noise)
    rows = Rows(found.prompt_ids, found.prompt_mask, found.completion_ids, mask=found.mask)
    # One pass over them, with the mean log-prob per token as the objective.
    optimizer = make_optimizer(model, learning_rate)
    for part in torch.arange(len(rows.mask)).view(steps, ROWS):
        batch = rows.pick(part)
        step(model, optimizer, -logprobs(model, batch).sum() / batch.mask.sum())


def busiest(model: nn.Module, rows: Rows) -> list[float]:
    """The share of each layer's choices that goes to its busiest expert (1/8 if all are alike)."""
    _, routes = score(model, rows)
    return [float(each.flatten().bincount().max()) / each.numel() for each in routes]


def recorded_arms() -> dict[str, list[dict]]:
    """The recorded runs (`tools/record_experts.py`) by arm, in the order of their seeds."""
    data = json.loads((DATA / "runs" / "experts.json").read_text(encoding="utf-8"))
    arms: dict[str, list[dict]] = {}
    for run in data["runs"]:
        arms.setdefault(run["arm"], []).append(run)
    return arms


class Replay:
    """Routing Replay as two stages of a step: a mini-batch's first scoring, which is that of the
    model that sampled, notes the expert sets. Each later one is sent to them."""

    def __init__(self) -> None:
        # By the mini-batch's completions, which live as long as its rollout.
        self.routes: dict[int, list[Tensor]] = {}

    def sample(
        self, policy: Policy, batch: list[Problem], step: int, settings: TrainSettings
    ) -> Rollout:
        """`sample_step`. The expert sets of the rollout before are forgotten."""
        self.routes.clear()
        return sample_step(policy, batch, step, settings=settings)

    def score(
        self, model: nn.Module, prompt_ids: Tensor, prompt_mask: Tensor, ids: Tensor, *more: object
    ) -> tuple[Tensor, Tensor | None]:
        """`scoring.score_tokens`, under the noted expert sets if there are any."""
        old = self.routes.get(id(ids), [])
        with recorded_routes(model) as routes, replayed_routes(model, old):
            found = score_tokens(model, prompt_ids, prompt_mask, ids, *more)
        self.routes.setdefault(id(ids), routes)
        return found


def race(
    policy: Policy, method: Method, replay: bool, settings: TrainSettings
) -> Iterator[StepRecord]:
    """Trains a mixture, in place, with routing recomputed or replayed in its updates."""
    kept = Replay()
    stages = Stages(sample=kept.sample, score=kept.score) if replay else Stages()
    return train(policy, load_problems("train"), method, settings=settings, stages=stages)


def recorded_race() -> dict:
    """The recorded runs of GRPO and GSPO, seed after seed, and the accuracy at their start
    (`tools/record_experts_race.py`)."""
    return json.loads((DATA / "runs" / "experts_race.json").read_text(encoding="utf-8"))


def race_accuracies() -> dict[str, list[float]]:
    """Held-out accuracy in percent at the start and of each recorded arm, one value per seed."""
    data = recorded_race()
    arms = {"start": [100 * data["start"]]}
    for run in data["runs"]:
        arm = run["method"] + ", replayed" * run["replay"]
        arms.setdefault(arm, []).append(100 * run["accuracy"])
    return arms


def race_differences() -> dict[str, list[float]]:
    """Paired differences of the recorded arms in points, one per seed."""
    arms = race_accuracies()
    return {
        f"{one} - {other}": [a - b for a, b in zip(arms[one], arms[other], strict=True)]
        for one, other in RACE_PAIRS
    }
