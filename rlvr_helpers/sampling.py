"""Sampling rollouts: several completions of each prompt, with the log-prob of every token."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlvr_helpers import _moved
from rlvr_helpers.engine.decoding import decoder_for
from rlvr_helpers.models import Policy, format_prompt
from rlvr_helpers.problems import Problem

# The public name is sampling.token_logprobs.
from rlvr_helpers.scoring import token_logprobs as token_logprobs


@dataclass
class Rollout:
    """G completions of each of P prompts. Rows are prompt-major: row = p * G + k, B = P * G.

    prompt_ids, prompt_mask:  [B, Tp] left-padded
    completion_ids, mask:     [B, T] right-padded. The mask is 1 up to and including the first end
                              token.
    logprobs:                 [B, T] of the sampled tokens in nats, float32, at the temperature of
                              the sampling
    truncated:                [B] True if the budget cut the completion off before an end token
    texts:                    B strings, without special tokens
    compute_dtype:            dtype of matrix multiplications. Score with the same one.
    """

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    mask: Tensor
    logprobs: Tensor
    truncated: Tensor
    texts: list[str]
    group_size: int
    compute_dtype: torch.dtype = torch.float32

    @property
    def lengths(self) -> Tensor:
        """Tokens of each completion, [B], the end token included."""
        return self.mask.sum(dim=1)

    def logprobs_under(self, model: nn.Module) -> Tensor:
        """Log-probs of the tokens under a model at temperature 1, see `token_logprobs`, [B, T]."""
        ids = self.prompt_ids, self.prompt_mask, self.completion_ids, self.mask
        return token_logprobs(model, *ids, group_size=self.group_size)


def encode_prompts(policy: Policy, prompts: list[str]) -> tuple[Tensor, Tensor]:
    """Left-padded prompt ids and mask, [P, Tp]. `format_prompt` made the prompts.

    Raises ValueError if there is no prompt, or an empty one.
    """
    texts = not isinstance(prompts, str) and all(isinstance(p, str) for p in prompts)
    rows = (
        [policy.tokenizer(p, add_special_tokens=False).input_ids for p in prompts] if texts else []
    )
    # One text or an empty prompt is a slip, and would be sampled from all the same.
    if not rows or not all(rows):
        raise ValueError(
            "prompts must be a non-empty list of non-empty strings: use format_prompt on each"
            " question"
        )
    # Padding goes to the left, so that every completion begins at the same position.
    width = max(map(len, rows))
    ids = torch.tensor([[policy.pad_id] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids.to(policy.device), mask.to(policy.device)


def check_room(
    model: PreTrainedModel, width: int, max_tokens: int, whose: str = "a prompt"
) -> None:
    """Raises ValueError if a prompt of `width` tokens and its completion need more positions than
    the model has."""
    positions = getattr(model.config, "max_position_embeddings", None) or math.inf
    if width + max_tokens > positions:
        raise ValueError(
            f"{whose} of {width} tokens and {max_tokens} more exceed the model's {positions}"
            " positions: shorten the prompt or lower max_tokens"
        )


def check_prompts(policy: Policy, problems: list[Problem], max_tokens: int) -> None:
    """Raises ValueError with the first problem whose prompt cannot be made or leaves no room for an
    answer.

    `train` calls this before its first step, so that no run ends at a later one.
    """
    prompts = [format_prompt(policy, problem.question) for problem in problems]
    rows = policy.tokenizer(prompts, add_special_tokens=False).input_ids
    for problem, row in zip(problems, rows, strict=True):
        check_room(
            policy.model, len(row), max_tokens, whose=f"the prompt of {problem.question[:60]!r}"
        )


# The largest difference in nats that rounding explains between a token's log-prob in decoding and
# in training. Measured on a CPU, 600 to 900 tokens of `tiny`: 1.4e-5 in float32, 0.04 in float16,
# 0.17 in bfloat16 (0.36 with the weights in bfloat16 too).
LARGEST_GAP = {torch.float32: 0.01, torch.float16: 0.25, torch.bfloat16: 1.0}


def warn_of_gap(policy: Policy, gap: float, step: int) -> bool:
    """Warns if a step's `sampler_gap` is far beyond rounding, and says whether it is."""
    # The coarser of both dtypes decides how much rounding explains.
    limit = max(
        LARGEST_GAP.get(dtype, LARGEST_GAP[torch.float32])
        for dtype in (policy.compute_dtype, policy.dtype)
    )
    if gap <= limit:
        return False
    warnings.warn(
        f"step {step}: decoding and training differ by {gap:.2g} nats in a token's log-prob, and"
        f" rounding explains at most {limit:g}. The model is not scored as it is sampled (does it"
        " take position_ids, a sliding window or rescaled positions?), so what it learns cannot be"
        " trusted: train another model",
        stacklevel=3,
    )
    return True


def sample_groups(
    policy: Policy,
    prompts: list[str],
    group_size: int,
    max_tokens: int,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    make_decoder: Callable = decoder_for,
) -> Rollout:
    """Samples `group_size` completions of at most `max_tokens` tokens for each prompt.

    Temperature 0 is greedy. There is no top-k, top-p or penalty, so the log-probs are those of the
    distribution that was sampled from. The noise is one uniform number per row and position, drawn
    before the first token. So a row does not depend on which other rows have finished.

    Raises ValueError on a group size or budget below 1 or a negative temperature, and
    FloatingPointError if the model's logits are not finite.
    """
    if group_size < 1 or max_tokens < 1 or not 0 <= temperature < math.inf:
        raise ValueError(
            "group_size and max_tokens must be at least 1 and temperature at least 0, not "
            f"{group_size}, {max_tokens} and {temperature}"
        )
    # Encode the prompts and draw all the noise.
    prompt_ids, prompt_mask = encode_prompts(policy, prompts)
    check_room(policy.model, prompt_ids.shape[1], max_tokens)
    noise = torch.rand(len(prompts) * group_size, max_tokens, generator=generator).to(policy.device)
    # Decode without dropout. Inference mode is a tenth faster than no_grad, but autograd needs
    # copies of what leaves it.
    decoder = make_decoder(policy.model, max_tokens, policy.compute_dtype)
    was_training = policy.model.training
    policy.model.eval()
    with torch.inference_mode():
        logits = decoder.start(prompt_ids, prompt_mask, group_size)
        ids, logprobs = _decode(policy, decoder, logits, noise=noise, temperature=temperature)
    policy.model.train(was_training)
    # NaN, infinity and a row of minus infinities each make every log-prob of their row NaN, so one
    # check at the end is enough.
    if not logprobs.isfinite().all():
        raise FloatingPointError(_not_finite(policy))
    return _rollout(
        policy,
        prompt_ids,
        prompt_mask,
        ids=ids.clone(),
        logprobs=logprobs.clone(),
        group_size=group_size,
    )


def _not_finite(policy: Policy) -> str:
    """What to say of logits that are not finite, and what to do."""
    found = (
        "the model's logits are not finite (NaN or infinite), so nothing can be sampled from them"
    )
    what_to_do = (
        "some of its weights are NaN, infinite or far too large, so load it again from good ones"
    )
    # In float16 the weights themselves can be sound.
    if torch.float16 in (policy.compute_dtype, policy.dtype):
        what_to_do = (
            "in float16 numbers above 65504 overflow, so load the policy with torch.bfloat16 or"
            " torch.float32"
        )
    return f"{found}: {what_to_do}"


def _decode(
    policy: Policy, decoder: object, logits: Tensor, noise: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Token ids and log-probs [B, T], cut to the longest row. After a row's end token they are the
    pad id and 0.

    decoder, logits: started on the prompts, and its first logits [B, V]
    noise: [B, max_tokens], uniform
    """
    rows, max_tokens = noise.shape
    ids = torch.full((rows, max_tokens), policy.pad_id, device=policy.device)
    logprobs = torch.zeros(rows, max_tokens, device=policy.device)
    end_ids = torch.tensor(policy.end_ids, device=policy.device)
    # The decoder drops finished rows: which row each of its rows is, and whether it is unfinished.
    alive = torch.arange(rows, device=policy.device)
    live = torch.ones(rows, dtype=torch.bool, device=policy.device)
    # Rows of a group, or of a part of a large group. Each line of `kept` stays within one.
    size = decoder.size
    for t in range(max_tokens):
        # Pick a token for every row and write it down.
        tokens, token_logprobs = pick_tokens(logits, noise[alive, t], temperature)
        ids[alive[live], t] = tokens[live]
        logprobs[alive[live], t] = token_logprobs[live]
        live = live & ~torch.isin(tokens, end_ids)
        if t + 1 == max_tokens or not live.any():
            break
        # Drop finished rows. That copies the cache, so wait until it pays.
        kept = rows_to_keep(live, size)
        if kept.numel() <= decoder.drop_at * len(live):
            decoder.keep(kept)
            size = kept.shape[1]
            kept = kept.flatten()
            alive = alive[kept]
            tokens = tokens[kept]
            live = live[kept]
        # Read the tokens.
        logits = decoder.step(tokens)
    decoder.finish()
    return ids[:, : t + 1], logprobs[:, : t + 1]


def pick_tokens(logits: Tensor, noise: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """One token per row from logits [R, V] and uniform noise [R] in [0, 1), and its log-prob.

    The token is where the cumulative probability passes the noise. At temperature 0 it is the most
    probable one.
    """
    logp = F.log_softmax(logits.float() / (temperature or 1.0), dim=-1)
    if temperature == 0:
        tokens = logp.argmax(dim=-1, keepdim=True)
    else:
        cumulative = logp.exp().cumsum(dim=-1)
        tokens = torch.searchsorted(cumulative, noise[:, None] * cumulative[:, -1:], right=True)
        tokens = tokens.clamp(max=logits.shape[-1] - 1)
    return tokens.squeeze(1), logp.gather(1, tokens).squeeze(1)


def rows_to_keep(live: Tensor, group_size: int) -> Tensor:
    """Rows to continue with, as a rectangle [P', G']: groups with a live row, live rows first.

    G' is the largest number of live rows in a group. Smaller groups are filled up with finished
    rows.
    """
    live = live.view(-1, group_size)
    order = live.int().argsort(dim=1, descending=True, stable=True)[:, : int(live.sum(dim=1).max())]
    # As numbers of rows, without the groups that are done.
    first_row = torch.arange(len(live), device=live.device)[:, None] * group_size
    return (first_row + order)[live.any(dim=1)]


def answer(policy: Policy, question: str, max_tokens: int = 64) -> str:
    """The policy's greedy answer to a question."""
    prompts = [format_prompt(policy, question)]
    return sample_groups(policy, prompts, 1, max_tokens=max_tokens, temperature=0.0).texts[0]


def mask_after_end(completion_ids: Tensor, end_ids: tuple[int, ...]) -> Tensor:
    """1 up to and including the first end token of each row, 0 after it, [B, T]."""
    is_end = torch.isin(completion_ids, torch.tensor(end_ids, device=completion_ids.device))
    ends_before = is_end.cumsum(dim=1) - is_end.long()
    return (ends_before == 0).long()


def _rollout(
    policy: Policy,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    ids: Tensor,
    logprobs: Tensor,
    group_size: int,
) -> Rollout:
    """The rollout of these token ids and log-probs [B, T]. The prompts are [P, Tp] each."""
    # Where each completion ends, and whether the budget ended it.
    mask = mask_after_end(ids, policy.end_ids)
    truncated = ~torch.isin(ids, torch.tensor(policy.end_ids, device=ids.device)).any(dim=1)
    # As text, without what follows the end.
    rows = [
        row[:length] for row, length in zip(ids.tolist(), mask.sum(dim=1).tolist(), strict=True)
    ]
    texts = policy.tokenizer.batch_decode(rows, skip_special_tokens=True)
    return Rollout(
        prompt_ids.repeat_interleave(group_size, dim=0),
        prompt_mask.repeat_interleave(group_size, dim=0),
        completion_ids=ids,
        mask=mask,
        logprobs=logprobs,
        truncated=truncated,
        texts=texts,
        group_size=group_size,
        compute_dtype=policy.compute_dtype,
    )


# Names of the first edition that now stand elsewhere.
__getattr__ = _moved.names(__name__, "logprobs_from_logits masked_scores score_tokens")
