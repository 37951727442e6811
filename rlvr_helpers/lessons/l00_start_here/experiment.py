"""The experiment of lesson 00: answers whose first word may not be one of a few."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rlvr_helpers.models import Policy, format_prompt
from rlvr_helpers.problems import Problem
from rlvr_helpers.sampling import encode_prompts, sample_groups

OPENING = "<reasoning>"
MAX_TOKENS = 64


def greedy_answers(
    policy: Policy, problems: list[Problem], forbidden: Sequence[str] = ()
) -> list[str]:
    """What the policy answers, one text per problem, always by its likeliest words.

    forbidden: words that the reasoning may not begin with; the likeliest other word takes their
        place. Raises ValueError on a word that the policy does not know.
    """
    # the likeliest word that is allowed
    vocabulary = policy.tokenizer.get_vocab()
    unknown = [word for word in forbidden if word not in vocabulary]
    if unknown:
        raise ValueError(f"not a word of this policy: {', '.join(unknown)}. Choose from the chart")
    probabilities = _first(policy, problems)
    probabilities[:, [vocabulary[word] for word in forbidden]] = 0.0
    words = policy.tokenizer.convert_ids_to_tokens(probabilities.argmax(dim=-1).tolist())

    # the rest, begun with that word
    starts = [f"{OPENING} {word}" for word in words]
    prompts = [
        format_prompt(policy, problem.question) + start
        for problem, start in zip(problems, starts, strict=True)
    ]
    rest = sample_groups(policy, prompts, 1, max_tokens=MAX_TOKENS - 2, temperature=0.0)
    return [f"{start} {text}" for start, text in zip(starts, rest.texts, strict=True)]


def first_words(
    policy: Policy, problems: list[Problem], digits: str = "a number"
) -> dict[str, float]:
    """The probability of each first word of the reasoning, its mean over the problems, likeliest
    first. All numbers together count as one word, named `digits`."""
    mean = _first(policy, problems).mean(dim=0).tolist()
    names = policy.tokenizer.convert_ids_to_tokens(list(range(len(mean))))
    shares: dict[str, float] = {}
    for name, share in zip(names, mean, strict=True):
        word = digits if name.isdigit() else name
        shares[word] = shares.get(word, 0.0) + share
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


@torch.no_grad()
def _first(policy: Policy, problems: list[Problem]) -> Tensor:
    """The distribution of the first word of the reasoning, [P, V]."""
    prompts = [format_prompt(policy, problem.question) + OPENING for problem in problems]
    ids, mask = encode_prompts(policy, prompts)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    logits = policy.model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    return logits[:, -1].softmax(dim=-1)
