"""A group in one row: where each token stands, what it sees, and that a large vocabulary changes
nothing.

That value and gradient are those of the plain layout is tested in test_sampling.py.
"""

import pytest
import torch
from small_policies import make_model

from rlvr_helpers.engine.packing import can_pack, pack
from rlvr_helpers.scoring import score_hidden, score_tokens

PROMPTS = torch.tensor([[0, 5, 6], [0, 5, 6], [7, 8, 9], [7, 8, 9]])
PROMPT_MASK = (PROMPTS > 0).long()
COMPLETIONS = torch.tensor([[11, 12, 13, 0], [14, 0, 0, 0], [15, 16, 0, 0], [17, 18, 19, 20]])
MASK = (COMPLETIONS > 0).long()
BATCH = PROMPTS, PROMPT_MASK, COMPLETIONS, MASK


def test_where_every_token_stands():
    packed = pack(*BATCH, group_size=2)
    # the last token of a row predicts nothing and is left out; the shorter group is filled up
    assert packed.ids.tolist() == [[0, 5, 6, 11, 12, 0, 0], [7, 8, 9, 15, 17, 18, 19]]
    assert packed.position_ids.tolist() == [[0, 0, 1, 2, 3, 0, 0], [0, 1, 2, 3, 3, 4, 5]]
    # tokens in order: 11 12 13, 14, 15 16, 17 18 19 20; a first token is predicted by the prompt's
    # last
    assert packed.group.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert packed.index.tolist() == [2, 3, 4, 2, 2, 3, 2, 4, 5, 6]


def test_what_every_token_sees():
    """The prompt and what its own completion said so far; never padding, another completion or the
    future. What an empty place sees does not matter: nothing is read from it."""
    attends = pack(*BATCH, group_size=2).attention_mask[:, 0]
    seen = [[row.nonzero().flatten().tolist() for row in group] for group in attends]
    assert seen[0] == [[0], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4], [1, 2, 5], [1, 2, 6]]
    assert seen[1] == [
        [0],
        [0, 1],
        [0, 1, 2],
        [0, 1, 2, 3],
        [0, 1, 2, 4],
        [0, 1, 2, 4, 5],
        [0, 1, 2, 4, 5, 6],
    ]


def test_a_completion_does_not_depend_on_its_neighbour():
    model = make_model("llama")
    other = COMPLETIONS.clone()
    other[2, 0] = 21
    first, second = (
        score_tokens(model, PROMPTS, PROMPT_MASK, ids, MASK, 1.0, 2)[0]
        for ids in (COMPLETIONS, other)
    )
    assert torch.equal(first[[0, 1, 3]], second[[0, 1, 3]]) and not torch.equal(first[2], second[2])


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_an_empty_row_and_an_empty_group_score_0(family):
    model = make_model(family)
    mask = MASK.clone()
    mask[1] = 0
    with torch.no_grad():
        _, entropy = score_tokens(model, PROMPTS, PROMPT_MASK, COMPLETIONS, mask, 1.0, 2)
    logp, _ = score_tokens(model, PROMPTS, PROMPT_MASK, COMPLETIONS, mask, 1.0, 2)
    assert torch.isfinite(logp).all() and not logp[1].any() and not entropy[1].any()
    logp.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    nothing, _ = score_tokens(
        model, PROMPTS, PROMPT_MASK, COMPLETIONS, torch.zeros_like(mask), 1.0, 2
    )
    assert not nothing.any()


def test_logits_in_parts_are_the_same_in_value_and_gradient():
    head = make_model("llama").lm_head
    hidden = torch.randn(11, 16, generator=torch.Generator().manual_seed(0))
    tokens, weights = torch.arange(11), torch.linspace(-1, 1, 11)

    def value_and_gradient(head, **limit):
        states = hidden.clone().requires_grad_()
        head.weight.grad = None
        with torch.no_grad():
            _, entropy = score_hidden(head, hidden, tokens, 0.7, **limit)
        logp, none = score_hidden(head, states, tokens, 0.7, **limit)
        assert none is None, "an update does not pay for the entropy"
        (logp * weights).sum().backward()
        return logp.detach(), entropy, states.grad, head.weight.grad

    whole = value_and_gradient(head)
    seen = []
    head.register_forward_hook(lambda head, inputs, logits: seen.append(len(logits)))
    for part, expected in zip(
        value_and_gradient(head, largest=4 * head.out_features), whole, strict=True
    ):
        torch.testing.assert_close(part, expected, rtol=0, atol=1e-6)
    assert sorted(seen) == sorted(3 * [4, 4, 3]), (
        "each part once for the entropy, once forward and once again in the backward pass"
    )


def test_only_models_whose_parts_are_known_are_packed():
    assert can_pack(make_model("llama")) and can_pack(make_model("qwen2"))
    assert not can_pack(make_model("gpt2"))
    assert not can_pack(make_model("llama", attn_implementation="eager"))
