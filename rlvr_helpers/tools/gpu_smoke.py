"""The first stage of `gpu_session`: is the GPU path correct, and how fast is each piece?"""

import argparse
import sys
import warnings
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F

from rlvr_helpers import sampling
from rlvr_helpers.engine.decoding import CacheDecoder, GraphDecoder
from rlvr_helpers.engine.large import autocast
from rlvr_helpers.models import Policy, default_device
from rlvr_helpers.study.memory import SHAPES
from rlvr_helpers.tools import gpu_benchmark
from rlvr_helpers.tools.measuring import timed

Say = Callable[..., None]


def smoke(args: argparse.Namespace, say: Say) -> None:
    """Each check by itself. If one fails, that is said and the next is made."""
    # Sizes as (model, prompts, group, tokens): a small model that decodes fast, and the original's.
    quick = [("a small model", 2, 4, 8)]
    sizes = quick if args.quick else [("smollm2-135m", 32, 8, 96), ("qwen2.5-1.5b", 2, 8, 100)]
    checks = [("attention over new shapes", attention_plans, (args,))]
    checks += [
        (
            f"{name}, {prompts} prompts x {group} x {tokens} tokens",
            decoding_and_scoring,
            (name, prompts, group, tokens),
        )
        for name, prompts, group, tokens in sizes
    ]
    # A check that fails does not end the session.
    failed = []
    for what, check, given in checks:
        try:
            check(what, say, *given)
        except Exception as error:
            failed.append(what)
            say(what, f"FAILED: {type(error).__name__}: {str(error)[:300]}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def attention_plans(what: str, say: Say, args: argparse.Namespace) -> None:
    """Milliseconds of attention with a mask at a new shape and at once again, with cuDNN allowed
    and not."""
    device = default_device()
    positions = (33, 34, 35) if args.quick else (1201, 1202, 1203)
    allowed = torch.backends.cuda.cudnn_sdp_enabled()
    for cudnn in (False, True) if device.type == "cuda" else (False,):
        torch.backends.cuda.enable_cudnn_sdp(cudnn)
        new = []
        again = []
        # The first call of all loads libraries, so its shape is not counted.
        for size in positions:
            new.append(attention_seconds(size, device))
            again.append(attention_seconds(size, device))
        new_ms = 1000 * median(new[1:])
        again_ms = 1000 * median(again[1:])
        say(
            f"{what}, {'with' if cudnn else 'without'} cuDNN",
            f"{new_ms:.1f} ms forward and backward, {again_ms:.1f} ms the second time",
            new_ms=new_ms,
            again_ms=again_ms,
            positions=positions,
        )
    torch.backends.cuda.enable_cudnn_sdp(allowed)


def attention_seconds(positions: int, device: torch.device) -> float:
    """Seconds of attention and its backward pass, once."""
    # As SmolLM2 has it: 9 heads of 64 numbers, two rows.
    shape = (2, 9, positions, 64)
    queries, keys, values = (
        torch.randn(shape, device=device, dtype=torch.bfloat16, requires_grad=True)
        for _ in range(3)
    )
    mask = torch.ones(2, 1, positions, positions, dtype=torch.bool, device=device).tril()

    def both() -> None:
        F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask).sum().backward()

    return timed(both)[0]["seconds"]


class RecordingDecoder(GraphDecoder):
    """`GraphDecoder`, and what its recordings took."""

    seconds: list[float] = []

    def _record(self) -> None:
        self.seconds.append(timed(super()._record)[0]["seconds"])


class EagerDecoder(GraphDecoder):
    """The steps of `GraphDecoder`, started one by one."""

    def _record(self) -> None:
        pass


# The fast one, the same without a graph, and the reference implementation.
DECODERS = {
    "graph decoding": RecordingDecoder,
    "the same steps, started one by one": EagerDecoder,
    "the decoder for any model": CacheDecoder,
}


def decoding_and_scoring(
    what: str, say: Say, name: str, prompts: int, group: int, tokens: int
) -> None:
    """The decoders beside each other. Then what was sampled is scored packed and plainly.

    Raises RuntimeError if the recorded graph chose other tokens than its steps started one by one.
    """
    shape = gpu_benchmark.SMALL if name == "a small model" else SHAPES[name]
    policy = gpu_benchmark.random_policy(shape, default_device(), name)
    question = "Ida has 12 shells. She buys 3 bags of 5. How many shells does Ida have now?"
    recordings = RecordingDecoder.seconds
    recordings.clear()
    # Each decoder samples the same prompts with the same noise.
    sampled = {}
    equal = {}
    for label, kind in DECODERS.items():
        runs, rollout, warned = sampled_with(
            kind, policy, [question] * prompts, group=group, tokens=tokens
        )
        sampled[kind] = rollout
        equal[kind] = share_of_equal(
            rollout.completion_ids, sampled[RecordingDecoder].completion_ids
        )
        # In words, for the table.
        rate = int(rollout.mask.sum()) / runs[-1]
        shown = f"{rate:,.0f} tokens/s, {1000 * runs[-1] / rollout.mask.shape[1]:.2f} ms per token"
        if kind is not RecordingDecoder:
            shown += f", {equal[kind]:.0%} of its tokens the same"
        elif recordings:
            shown += (
                f", {len(recordings)} recordings of about {1000 * median(recordings):.0f} ms in two"
                " rollouts"
            )
        shown += f"; WARNED: {warned[0]}" if warned else ""
        say(
            f"{what}, {label}",
            shown,
            seconds=runs,
            same_tokens=equal[kind],
            recordings=list(recordings),
        )
    report_scoring(what, say, policy, rollout=sampled[RecordingDecoder], group=group)
    if equal[EagerDecoder] < 1:
        raise RuntimeError(
            "the recorded graph chose other tokens than the same steps started one by one"
        )


def share_of_equal(ids: torch.Tensor, others: torch.Tensor) -> float:
    """The share of equal tokens, as far as both go."""
    width = min(ids.shape[1], others.shape[1])
    return float((ids[:, :width] == others[:, :width]).float().mean())


def report_scoring(
    what: str, say: Say, policy: Policy, rollout: sampling.Rollout, group: int
) -> None:
    # The same log-probs in two ways, which differ only by rounding.
    packed = scored(policy, rollout, group)
    plain = scored(policy, rollout, 1)
    gap = float((packed["logp"] - plain["logp"]).abs().max())
    say(
        f"{what}, scoring with its gradient",
        f"packed {packed['seconds']:.3f} s, plain {plain['seconds']:.3f} s, at most {gap:.4f} nats"
        " apart",
        packed_seconds=packed["seconds"],
        plain_seconds=plain["seconds"],
        largest_gap=gap,
        gap_to_decoding=float(((packed["logp"] - rollout.logprobs) * rollout.mask).abs().max()),
    )


def sampled_with(
    kind: type, policy: Policy, prompts: list[str], group: int, tokens: int
) -> tuple[list, object, list[str]]:
    """Seconds of two rollouts with a decoder (the first warms up), the second rollout, and the
    warnings."""

    def roll() -> sampling.Rollout:
        # The same noise for all, so that they can be compared token by token.
        generator = torch.Generator().manual_seed(0)
        return sampling.sample_groups(
            policy, prompts, group, max_tokens=tokens, generator=generator, make_decoder=kind
        )

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runs = [timed(roll) for _ in range(2)]
    return [run["seconds"] for run, _ in runs], runs[-1][1], [str(w.message)[:200] for w in caught]


def scored(policy: Policy, rollout: sampling.Rollout, group: int) -> dict:
    """Log-probs of a rollout's tokens, packed in groups or plainly (1), and the seconds of forward
    and backward."""
    ids = rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, rollout.mask

    def score() -> torch.Tensor:
        policy.model.zero_grad(set_to_none=True)
        with autocast(policy.device, policy.compute_dtype):
            logp = sampling.token_logprobs(policy.model, *ids, 1.0, group)
        logp.sum().backward()
        return logp.detach()

    # The first call warms up.
    timed(score)
    run, logp = timed(score)
    return run | {"logp": logp}
