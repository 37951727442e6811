"""The experiment of lesson 00: answers whose first word must not be one of a few."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rlvr_helpers.models import Policy, format_prompt
from rlvr_helpers.problems import Problem
from rlvr_helpers.sampling import encode_prompts, sample_groups

# The tag that an answer starts with. The word after it is what lesson 00 calls the first word.
OPENING = "<reasoning>"
MAX_TOKENS = 64  # of a whole answer, the tag and its first word included


def greedy_answers(
    policy: Policy, problems: list[Problem], forbidden: Sequence[str] = ()
) -> list[str]:
    """The policy's greedy answers, one text per problem.

    forbidden: words that the reasoning must not begin with. The likeliest other word takes their
        place. Raises ValueError on a word that the policy does not know.
    """
    # Find the likeliest allowed word for each problem.
    vocabulary = policy.tokenizer.get_vocab()
    unknown = [word for word in forbidden if word not in vocabulary]
    if unknown:
        raise ValueError(f"not a word of this policy: {', '.join(unknown)}. Choose from the chart")
    probabilities = _first(policy, problems)
    probabilities[:, [vocabulary[word] for word in forbidden]] = 0.0
    words = policy.tokenizer.convert_ids_to_tokens(probabilities.argmax(dim=-1).tolist())

    # Let the policy write the rest after it.
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
    """Mean probability over the problems of each first word of the reasoning, likeliest first. All
    numbers together count as one word, named `digits`."""
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
    # Prompts are padded on the left, so position 0 is at each row's first real token.
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    logits = policy.model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    return logits[:, -1].softmax(dim=-1)
