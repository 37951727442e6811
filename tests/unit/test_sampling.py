"""Sampling and scoring: rules S1 to S9, the decoders against each other, against `generate` and
against loops that use no cache, no padding and no sharing; the noise, dropping of rows, entropy,
errors."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_policies import (
    END,
    END_IDS,
    ID,
    PAD,
    POINT,
    STOP,
    WORDS,
    make_any,
    make_model,
    make_tiny,
    make_tokenizer,
)

from rlvr_helpers.engine import layers
from rlvr_helpers.engine.decoding import (
    CacheDecoder,
    GraphDecoder,
    LayerDecoder,
    PlainDecoder,
    decoder_for,
)
from rlvr_helpers.evaluation import evaluate
from rlvr_helpers.models import format_prompt, make_policy
from rlvr_helpers.sampling import (
    encode_prompts,
    mask_after_end,
    pick_tokens,
    rows_to_keep,
    sample_groups,
)
from rlvr_helpers.scoring import score_tokens, token_logprobs


def prompts_of(policy, problems):
    return [format_prompt(policy, problem.question) for problem in problems]


def roll(policy, prompts, group_size=3, max_tokens=8, temperature=1.0, seed=0, **options):
    return sample_groups(
        policy,
        prompts,
        group_size,
        max_tokens,
        temperature,
        generator=torch.Generator().manual_seed(seed),
        **options,
    )


def score(policy, rollout, **options):
    ids = rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, rollout.mask
    return token_logprobs(policy.model, *ids, **options)


def rows_of(rollout):
    """Each row as two plain lists: the prompt's tokens without padding, the completion's under the
    mask."""
    tables = rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, rollout.mask
    for prompt, prompt_mask, completion, mask in zip(
        *(table.tolist() for table in tables), strict=True
    ):
        yield (
            [token for token, keep in zip(prompt, prompt_mask, strict=True) if keep],
            [token for token, keep in zip(completion, mask, strict=True) if keep],
        )


def completions(rollout):
    return [completion for _, completion in rows_of(rollout)]


# --- slow reference implementations: one row, one token at a time
# -----------------------------------------------------


@torch.no_grad()
def next_logits(model, tokens):
    """The logits after these tokens, [V] in float64: the whole text through the model, nothing
    cached or padded."""
    return model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1].double()


@torch.no_grad()
def literal_logprobs(model, rollout, temperature=1.0):
    """log-prob[i][t] of the completion tokens: each row by itself through the model, the softmax
    written out."""
    table = []
    for prompt, completion in rows_of(rollout):
        after = (
            model(input_ids=torch.tensor([prompt + completion]), use_cache=False).logits[0].double()
            / temperature
        )
        row = []
        for t, token in enumerate(completion):
            logits = after[len(prompt) + t - 1].tolist()  # after the text before this token
            row.append(logits[token] - math.log(sum(math.exp(x) for x in logits)))
        table.append(row)
    return table


def literal_samples(policy, prompts, group_size, max_tokens, temperature, seed):
    """The tokens that the noise stands for: row by row, the first token whose cumulative
    probability passes it."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(len(prompts) * group_size, max_tokens, generator=generator).tolist()
    table = []
    for row in range(len(prompts) * group_size):
        prompt = policy.tokenizer(prompts[row // group_size], add_special_tokens=False).input_ids
        completion = []
        while len(completion) < max_tokens and not (
            completion and completion[-1] in policy.end_ids
        ):
            probabilities = (
                (next_logits(policy.model, prompt + completion) / temperature)
                .softmax(dim=-1)
                .tolist()
            )
            cumulative, token = probabilities[0], 0
            while cumulative <= noise[row][len(completion)] and token < len(probabilities) - 1:
                token += 1
                cumulative += probabilities[token]
            completion.append(token)
        table.append(completion)
    return table


def largest_gap(logprobs, table):
    """Largest difference on the tokens of the table; what lies beyond a row must be exactly 0."""
    gap = 0.0
    for values, row in zip(logprobs.tolist(), table, strict=True):
        assert all(value == 0 for value in values[len(row) :])
        gap = max([gap, *(abs(a - b) for a, b in zip(values, row, strict=False))])
    return gap


# --- S1 to S4: masks and ends ---------------------------------------------------------------------


def test_s1_the_mask_covers_up_to_and_including_the_first_end_token():
    ids = torch.tensor(
        [
            [5, 6, END, 7, 8],  # what comes after an end does not count
            [END, 5, 6, 7, 8],
            [5, 6, 7, 8, END],
            [5, 6, 7, 8, 9],  # no end: the whole row
            [5, END, END, 6, END],  # the first of several
        ]
    )
    expected = [[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    assert mask_after_end(ids, (END,)).tolist() == expected


def test_s1_in_a_rollout_nothing_stands_after_the_end(any_policy, problems):
    rollout = roll(any_policy, prompts_of(any_policy, problems), group_size=8)
    lengths = set()
    for i, completion in enumerate(completions(rollout)):
        assert not any(token in END_IDS for token in completion[:-1])
        n = len(completion)
        assert rollout.mask[i].tolist() == [1] * n + [0] * (rollout.mask.shape[1] - n)
        assert (rollout.completion_ids[i, n:] == PAD).all()
        assert (rollout.logprobs[i, n:] == 0).all()
        assert (rollout.logprobs[i, :n] < 0).all()
        lengths.add(n)
    assert rollout.lengths.tolist() == [len(completion) for completion in completions(rollout)]
    assert len(lengths) > 4, "ragged rows are what this test is about"


def test_s2_every_end_token_ends_a_completion(policy, problems):
    """The tokenizer's own, and both that only the generation config names."""
    rollout = roll(policy, prompts_of(policy, problems), group_size=16)
    last = {completion[-1] for completion in completions(rollout)}
    assert set(END_IDS) <= last
    assert mask_after_end(
        torch.tensor([[5, STOP, 6], [POINT, 5, 6], [5, 6, END]]), END_IDS
    ).tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1]]


def test_s3_a_pad_token_that_was_sampled_counts(policy, problems):
    """The pad token is a word like any other when the model says it. A mask guessed from it would
    lose it."""
    rollout = roll(policy, prompts_of(policy, problems), group_size=16)
    said = (rollout.completion_ids == PAD) & (rollout.mask == 1)
    in_the_middle = said & (torch.arange(rollout.mask.shape[1]) < rollout.lengths[:, None] - 1)
    assert in_the_middle.any(), "no row says the pad token: choose another seed"
    assert (rollout.logprobs[said] < 0).all()
    assert (score(policy, rollout)[said] < 0).all()
    guessed = (rollout.completion_ids != PAD).long()
    assert not torch.equal(guessed, rollout.mask)


def test_s3_masks_hold_where_the_tokenizer_pads_with_its_end_token(problems):
    policy = make_policy(make_model(), make_tokenizer(pad_token="<end>"))
    rollout = roll(policy, prompts_of(policy, problems), group_size=8)
    for completion, row in zip(completions(rollout), rollout.completion_ids.tolist(), strict=True):
        ends = [t for t, token in enumerate(row) if token in END_IDS]
        assert len(completion) == (ends[0] + 1 if ends else len(row))
    assert largest_gap(score(policy, rollout), literal_logprobs(policy.model, rollout)) < 1e-5


def test_s4_truncated_is_a_row_whose_last_token_is_no_end_token(any_policy, problems):
    rollout = roll(any_policy, prompts_of(any_policy, problems), group_size=24)
    expected = [completion[-1] not in END_IDS for completion in completions(rollout)]
    assert rollout.truncated.tolist() == expected
    assert 0 < sum(expected) < len(expected)
    for completion, truncated in zip(completions(rollout), expected, strict=True):
        assert len(completion) == 8 or not truncated
    assert any(
        len(c) == 8 and not cut for c, cut in zip(completions(rollout), expected, strict=True)
    ), "an end token in the budget's last place is no truncation: choose another seed"


# --- S5: padding and positions --------------------------------------------------------------------


def test_s5_prompts_are_padded_on_the_left(policy, problems):
    rollout = roll(policy, prompts_of(policy, problems), group_size=2)
    for i, (ids, mask) in enumerate(zip(rollout.prompt_ids, rollout.prompt_mask, strict=True)):
        prompt = policy.tokenizer(
            prompts_of(policy, problems)[i // 2], add_special_tokens=False
        ).input_ids
        padding = len(ids) - len(prompt)
        assert ids.tolist() == [PAD] * padding + prompt
        assert mask.tolist() == [0] * padding + [1] * len(prompt)


def test_s5_log_probs_do_not_depend_on_the_other_prompts_of_the_batch(any_policy, problems):
    """Each row by itself, with no padding at all, gives what the ragged batch gives: to the
    sampler, to the scorer and to the scorer that shares prompts."""
    rollout = roll(any_policy, prompts_of(any_policy, problems))
    alone = literal_logprobs(any_policy.model, rollout)
    assert largest_gap(rollout.logprobs, alone) < 2e-5
    assert largest_gap(score(any_policy, rollout), alone) < 2e-5
    assert largest_gap(score(any_policy, rollout, group_size=3), alone) < 2e-5


def test_s5_more_padding_changes_nothing(any_policy, problems):
    rollout = roll(any_policy, prompts_of(any_policy, problems[:2]))
    before = score(any_policy, rollout)
    junk = torch.full((6, 5), ID["Ben"])
    wider = SimpleNamespace(
        prompt_ids=torch.cat([junk, rollout.prompt_ids], dim=1),
        prompt_mask=torch.cat([0 * junk, rollout.prompt_mask], dim=1),
        completion_ids=torch.cat([rollout.completion_ids, junk], dim=1),
        mask=torch.cat([rollout.mask, 0 * junk], dim=1),
    )
    for group_size in (1, 3):
        after = score(any_policy, wider, group_size=group_size)
        assert torch.allclose(after[:, : before.shape[1]], before, atol=1e-5)
        assert (after[:, before.shape[1] :] == 0).all()


def without_positions(model):
    """The model as called by someone who forgets the position ids."""

    def call(**inputs):
        inputs.pop("position_ids")
        return model(**inputs)

    return call


def test_s5_learned_positions_forgive_no_missing_position_ids(problems):
    """The mistake that S5 warns of: silently wrong, and caught by the comparison above."""
    policy = make_tiny("gpt2")
    rollout = roll(policy, prompts_of(policy, problems))
    ids = rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, rollout.mask
    wrong = token_logprobs(without_positions(policy.model), *ids)
    assert largest_gap(wrong, literal_logprobs(policy.model, rollout)) > 0.5


# --- S6 and S7: which logits, at which temperature ------------------------------------------------


def test_s6_each_token_is_scored_from_the_logits_one_position_earlier(any_policy, problems):
    """A model that is sure of its next token makes an error of one position show."""
    rollout = roll(any_policy, prompts_of(any_policy, problems))
    mask = torch.cat([rollout.prompt_mask, rollout.mask], dim=1)
    out = any_policy.model(
        input_ids=torch.cat([rollout.prompt_ids, rollout.completion_ids], dim=1),
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
    )
    width, ids = rollout.mask.shape[1], rollout.completion_ids[..., None]
    one_late = out.logits[:, -width:].log_softmax(-1).gather(-1, ids).squeeze(-1) * rollout.mask
    in_place = (
        out.logits[:, -width - 1 : -1].log_softmax(-1).gather(-1, ids).squeeze(-1) * rollout.mask
    )
    alone = [
        [
            float(next_logits(any_policy.model, prompt + completion[:t]).log_softmax(-1)[token])
            for t, token in enumerate(completion)
        ]
        for prompt, completion in rows_of(rollout)
    ]  # the text before each token, and nothing else, through the model
    assert largest_gap(one_late, alone) > 0.5, "the mistake must show"
    assert largest_gap(in_place, alone) < 2e-5
    assert torch.allclose(score(any_policy, rollout), in_place, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_s7_logits_are_divided_by_the_sampling_temperature(any_policy, problems, temperature):
    rollout = roll(any_policy, prompts_of(any_policy, problems), temperature=temperature)
    assert (
        largest_gap(rollout.logprobs, literal_logprobs(any_policy.model, rollout, temperature))
        < 2e-5
    )
    assert torch.allclose(
        score(any_policy, rollout, temperature=temperature), rollout.logprobs, atol=2e-5
    )
    for other in {0.6, 1.0, 1.7} - {temperature}:
        assert (score(any_policy, rollout, temperature=other) - rollout.logprobs).abs().max() > 0.05


# --- S8 and S9: the distribution ------------------------------------------------------------------


def chi_square_p_value(counts, probabilities):
    """The p-value of these counts under these probabilities; words with few expected counts are put
    together."""
    expected = probabilities.double() * counts.sum()
    rare = expected < 5
    counts = torch.cat([counts[~rare], counts[rare].sum()[None]]).double()
    expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
    counts, expected = counts[expected > 0], expected[expected > 0]
    statistic = ((counts - expected) ** 2 / expected).sum()
    return float(
        torch.special.gammaincc(torch.tensor((len(counts) - 1) / 2).double(), statistic / 2)
    )


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_s8_the_whole_distribution_is_sampled_whatever_the_generation_config_says(
    policy, temperature
):
    config = policy.model.generation_config
    config.do_sample, config.top_k, config.top_p, config.temperature = True, 5, 0.5, 0.1
    config.repetition_penalty = 3.0
    prompt = format_prompt(policy, "5 + 6 = ?")
    rollout = roll(policy, [prompt], group_size=10_000, max_tokens=1, temperature=temperature)
    counts = torch.bincount(rollout.completion_ids[:, 0], minlength=len(WORDS))
    logits = next_logits(policy.model, rollout.prompt_ids[0].tolist()) / temperature
    assert chi_square_p_value(counts, logits.softmax(dim=-1)) > 1e-3
    assert (counts > 0).sum() > 20, "far more words than the five of top_k"
    five_best = logits.masked_fill(logits < logits.topk(5).values[-1], -30.0)
    penalised = logits.clone()
    seen = rollout.prompt_ids[0].unique()
    penalised[seen] = torch.where(logits[seen] > 0, logits[seen] / 3, logits[seen] * 3)
    for wrong in (five_best, penalised, logits * 1.25):
        assert chi_square_p_value(counts, wrong.softmax(dim=-1)) < 1e-6, (
            "the comparison must be able to tell"
        )


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 3.0))
@settings(max_examples=30, deadline=None)
def test_s8_evenly_spread_noise_gives_each_token_its_share(seed, temperature):
    """Without chance: of N equally spaced noise values a token with probability p gets N p, give or
    take one."""
    logits = 2 * torch.randn(12, generator=torch.Generator().manual_seed(seed))
    points = 4096
    noise = (torch.arange(points) + 0.5) / points
    tokens, logp = pick_tokens(logits.expand(points, -1), noise, temperature)
    probabilities = (logits.double() / temperature).softmax(dim=-1)
    counts = torch.bincount(tokens, minlength=12)
    assert ((counts - points * probabilities).abs() <= 1.01).all()
    assert torch.allclose(logp.double(), probabilities.log()[tokens], atol=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.5, 1 - 2**-24])
def test_s8_a_token_without_probability_is_never_sampled(noise):
    logits = torch.randn(5000, 20, generator=torch.Generator().manual_seed(0))
    logits[:, [0, 7, 19]] = float("-inf")
    tokens, logp = pick_tokens(logits, torch.full((5000,), noise), 1.0)
    assert logp.isfinite().all()
    assert not torch.isin(tokens, torch.tensor([0, 7, 19])).any()


def test_s9_log_softmax_is_float32_for_a_model_in_bfloat16(problems):
    policy = make_tiny(dtype=torch.bfloat16)
    rollout = roll(policy, prompts_of(policy, problems))
    logprobs = score(policy, rollout)
    assert logprobs.dtype == rollout.logprobs.dtype == torch.float32
    mask = torch.cat([rollout.prompt_mask, rollout.mask], dim=1)
    with torch.no_grad():
        logits = policy.model(
            input_ids=torch.cat([rollout.prompt_ids, rollout.completion_ids], dim=1),
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        ).logits[:, -rollout.mask.shape[1] - 1 : -1]
    assert logits.dtype == torch.bfloat16
    ids = rollout.completion_ids[..., None]
    exact = logits.double().log_softmax(-1).gather(-1, ids).squeeze(-1) * rollout.mask
    rounded = logits.log_softmax(-1).gather(-1, ids).squeeze(-1) * rollout.mask
    assert (logprobs - exact).abs().max() < 1e-5
    assert (rounded - exact).abs().max() > 1e-3, "the mistake must show"


def test_s9_the_sampler_too_works_in_float32():
    logits = (4 * torch.randn(50, 300, generator=torch.Generator().manual_seed(0))).bfloat16()
    tokens, logp = pick_tokens(logits, torch.linspace(0, 0.999, 50), 0.7)
    exact = (logits.double() / 0.7).log_softmax(-1).gather(1, tokens[:, None]).squeeze(1)
    assert logp.dtype == torch.float32
    assert (logp - exact).abs().max() < 1e-5


# --- the decoders agree ---------------------------------------------------------------------------


def assert_same_rollout(one, two, tolerance=0.0):
    for name in ("prompt_ids", "prompt_mask", "completion_ids", "mask", "truncated"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert one.texts == two.texts
    assert (one.logprobs - two.logprobs).abs().max() <= tolerance


def test_the_written_out_decoder_serves_llama_and_qwen2_alone():
    kinds = {
        family: type(decoder_for(make_model(family), 4)) for family in ("llama", "qwen2", "gpt2")
    }
    assert kinds == {"llama": LayerDecoder, "qwen2": LayerDecoder, "gpt2": CacheDecoder}


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_written_out_decoder_equals_its_reference(problems, family, temperature):
    policy = make_tiny(family)
    prompts = prompts_of(policy, problems)
    options = {"group_size": 8, "max_tokens": 12, "temperature": temperature}
    fast = roll(policy, prompts, **options)
    slow = roll(policy, prompts, **options, make_decoder=CacheDecoder)
    assert_same_rollout(fast, slow, tolerance=2e-5)


def test_greedy_decoding_equals_generate(any_policy, problems):
    """Token for token what transformers gives, with the same end tokens."""
    rollout = roll(
        any_policy, prompts_of(any_policy, problems), group_size=1, max_tokens=12, temperature=0.0
    )
    generated = any_policy.model.generate(
        rollout.prompt_ids,
        attention_mask=rollout.prompt_mask,
        max_new_tokens=12,
        do_sample=False,
        eos_token_id=list(any_policy.end_ids),
        pad_token_id=any_policy.pad_id,
    )[:, rollout.prompt_ids.shape[1] :]
    assert torch.equal(generated, rollout.completion_ids)


def test_greedy_decoding_equals_the_literal_loop(any_policy, problems):
    rollout = roll(any_policy, prompts_of(any_policy, problems), group_size=1, temperature=0.0)
    for prompt, completion in rows_of(rollout):
        for t, token in enumerate(completion):
            assert token == int(next_logits(any_policy.model, prompt + completion[:t]).argmax())
    assert largest_gap(rollout.logprobs, literal_logprobs(any_policy.model, rollout)) < 2e-5, (
        "at temperature 1"
    )


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampled_tokens_equal_the_literal_loop(any_policy, problems, temperature):
    """No cache, no padding, no sharing, no dropping of rows: the same tokens for the same noise."""
    prompts = prompts_of(any_policy, problems[:4])
    rollout = roll(any_policy, prompts, temperature=temperature, seed=5)
    assert completions(rollout) == literal_samples(any_policy, prompts, 3, 8, temperature, seed=5)


VARIANTS = {
    "tied embeddings": ("llama", {"tie_word_embeddings": True}),
    "heads wider than their share": ("llama", {"head_dim": 12}),
    "one key-value head for four": ("llama", {"num_attention_heads": 4, "num_key_value_heads": 1}),
    "another epsilon of the norms": ("qwen2", {"rms_norm_eps": 1e-2}),
    "rotary positions that are scaled": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            }
        },
    ),
    "biases in attention": ("llama", {"attention_bias": True}),
    "biases in the MLP": ("llama", {"mlp_bias": True}),
    "another activation": ("llama", {"hidden_act": "gelu"}),
    "a sliding window": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0},
    ),
}


@pytest.mark.parametrize("family, changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_any_llama_or_qwen2_is_decoded_right(problems, family, changes):
    """Any model folder may be loaded. What the written-out layers do not know must go to the
    decoder for any model."""
    policy = make_tiny(family, **changes)
    prompts = prompts_of(policy, problems[:4])
    rollout = roll(policy, prompts, group_size=2, max_tokens=5)
    assert largest_gap(rollout.logprobs, literal_logprobs(policy.model, rollout)) < 2e-5


class Spy:
    """A decoder that writes down how many rows each call has."""

    def __init__(self, model, max_tokens, compute_dtype):
        self.inner = decoder_for(model, max_tokens, compute_dtype)
        self.drop_at = self.inner.drop_at
        self.prompts, self.steps, self.kept = 0, [], []
        Spy.last = self

    def start(self, prompt_ids, prompt_mask, group_size):
        self.prompts = len(prompt_ids)
        logits = self.inner.start(prompt_ids, prompt_mask, group_size)
        self.size = self.inner.size
        return logits

    def step(self, tokens):
        self.steps.append(len(tokens))
        return self.inner.step(tokens)

    def keep(self, rows):
        self.kept.append(rows.numel())
        self.inner.keep(rows)

    def finish(self):
        self.inner.finish()


def test_prompts_are_read_once_and_finished_rows_are_dropped(any_policy, problems):
    prompts = prompts_of(any_policy, problems)
    rollout = roll(any_policy, prompts, group_size=8, max_tokens=30, make_decoder=Spy)
    spy, lengths = Spy.last, rollout.lengths
    assert spy.prompts == len(problems), "one prompt for its whole group"
    assert len(spy.steps) == lengths.max() - 1, "no work after the last end token"
    assert spy.kept == sorted(spy.kept, reverse=True) and len(spy.kept) >= 2
    for t, rows in enumerate(spy.steps):
        alive = lengths.view(-1, 8) > t + 1
        rectangle = int(alive.any(dim=1).sum() * alive.sum(dim=1).max())
        assert alive.sum() <= rows <= math.ceil(rectangle / 0.85)


def test_dropping_rows_changes_nothing(any_policy, problems):
    prompts = prompts_of(any_policy, problems)
    dropped = roll(any_policy, prompts, group_size=8, max_tokens=20)

    def never_dropping(*args):
        spy = Spy(*args)
        spy.drop_at = 0.0
        return spy

    all_kept = roll(any_policy, prompts, group_size=8, max_tokens=20, make_decoder=never_dropping)
    assert not Spy.last.kept
    assert_same_rollout(dropped, all_kept, tolerance=2e-5)


@pytest.mark.parametrize("group_size, parts", [(16, 16), (17, 1), (48, 16), (24, 12)])
def test_a_large_group_is_decoded_in_parts(policy, problems, group_size, parts):
    """The parts divide the group, and what is said is what the reference implementation says."""
    prompts = prompts_of(policy, problems)[:2]
    options = {"group_size": group_size, "max_tokens": 12}
    fast = roll(policy, prompts, **options, make_decoder=Spy)
    assert Spy.last.size == parts
    slow = roll(policy, prompts, **options, make_decoder=CacheDecoder)
    assert_same_rollout(fast, slow, tolerance=2e-5)


def test_memory_is_used_again_and_never_by_two_at_once(policy, problems):
    prompts = prompts_of(policy, problems)
    first = roll(policy, prompts, group_size=8, max_tokens=20)
    memory = layers._spare[0].data_ptr()
    with torch.inference_mode():
        layers._spare[0].fill_(torch.nan)  # what stood there before must not matter
    again = roll(policy, prompts, group_size=8, max_tokens=20)
    assert layers._spare[0].data_ptr() == memory
    assert_same_rollout(first, again)

    # as a slider's callback beside a training cell
    one, other = (decoder_for(policy.model, 20) for _ in range(2))
    ids, mask = encode_prompts(policy, prompts)
    with torch.inference_mode():
        one.start(ids, mask, 8)
        other.start(ids, mask, 8)
    with torch.no_grad():
        outside = decoder_for(policy.model, 20)
        one.finish()
        outside.start(ids, mask, 8)  # writes to it: the spare memory was another mode's
    assert one.memory.data_ptr() == memory != other.memory.data_ptr()


def test_large_memory_is_given_back(monkeypatch):
    monkeypatch.setattr(layers, "_spare", [])
    layers.leave_memory(torch.zeros(26), most=100)
    assert not layers._spare
    layers.leave_memory(torch.zeros(25), most=100)
    assert len(layers._spare) == 1
    assert layers.take_memory(10, torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


# --- the noise ------------------------------------------------------------------------------------


def test_a_row_does_not_depend_on_when_other_rows_end(any_policy, problems):
    """Other prompts in the same places: those rows say other things and end elsewhere, the first
    group does not care."""
    first, *others = prompts_of(any_policy, problems)
    one = roll(any_policy, [first, *others[:2]], group_size=4)
    two = roll(any_policy, [first, *others[2:4]], group_size=4)
    assert completions(one)[:4] == completions(two)[:4]
    assert one.lengths[4:].tolist() != two.lengths[4:].tolist()


def test_a_row_does_not_depend_on_how_many_prompts_follow(any_policy, problems):
    """The noise of a row belongs to its place: more prompts behind it change nothing."""
    prompts = prompts_of(any_policy, problems)
    few, many = roll(any_policy, prompts[:2], group_size=4), roll(any_policy, prompts, group_size=4)
    assert completions(few) == completions(many)[:8]


def test_the_same_generator_gives_the_same_rollout_bit_for_bit(any_policy, problems):
    prompts = prompts_of(any_policy, problems)
    assert_same_rollout(roll(any_policy, prompts, seed=3), roll(any_policy, prompts, seed=3))
    assert roll(any_policy, prompts, seed=3).texts != roll(any_policy, prompts, seed=4).texts


def test_without_a_generator_torch_s_own_seed_counts(policy, problems):
    texts = []
    for _ in range(2):
        torch.manual_seed(7)
        texts.append(sample_groups(policy, prompts_of(policy, problems), 2, 6).texts)
    assert texts[0] == texts[1]
    assert sample_groups(policy, prompts_of(policy, problems), 2, 6).texts != texts[0]


def test_a_given_generator_leaves_torch_s_own_alone(policy, problems):
    before = torch.get_rng_state()
    roll(policy, prompts_of(policy, problems))
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_of_a_group_differ_and_greedy_ones_do_not(policy, problems):
    prompts = prompts_of(policy, problems)
    sampled, greedy = (
        roll(policy, prompts, 4).texts,
        roll(policy, prompts, 4, temperature=0.0).texts,
    )
    for p in range(len(prompts)):
        assert len(set(sampled[4 * p : 4 * p + 4])) > 1
        assert len(set(greedy[4 * p : 4 * p + 4])) == 1


def test_greedy_decoding_needs_no_luck(policy, problems):
    prompts = prompts_of(policy, problems)
    assert_same_rollout(
        roll(policy, prompts, temperature=0.0, seed=1),
        roll(policy, prompts, temperature=0.0, seed=2),
    )


# --- the rectangle of rows ------------------------------------------------------------------------


@st.composite
def live_rows(draw):
    size = draw(st.integers(1, 6))
    live = draw(st.lists(st.booleans(), min_size=size, max_size=6 * size).filter(any))
    return torch.tensor(live[: len(live) // size * size]), size


@given(live_rows().filter(lambda case: bool(case[0].any())))
@settings(deadline=None)
def test_rows_to_keep(case):
    live, size = case
    kept = rows_to_keep(live, size)
    groups = live.view(-1, size)
    assert kept.shape == (int(groups.any(dim=1).sum()), int(groups.sum(dim=1).max()))
    assert set(live.nonzero().flatten().tolist()) <= set(kept.flatten().tolist()), (
        "no live row is lost"
    )
    assert len(set(kept.flatten().tolist())) == kept.numel(), "no row comes twice"
    owners = (kept // size).tolist()
    assert all(len(set(line)) == 1 for line in owners), "a line stays within its group"
    assert [line[0] for line in owners] == sorted({line[0] for line in owners}), (
        "groups keep their order"
    )
    for line in kept.tolist():
        flags = live[line].int().tolist()
        assert flags == sorted(flags, reverse=True), "live rows come first"
        alive = [row for row in line if live[row]]
        assert alive and alive == sorted(alive)


# --- the rollout's shape --------------------------------------------------------------------------


def test_rows_are_prompt_major(policy, problems):
    prompts = prompts_of(policy, problems[:3])
    rollout = roll(policy, prompts, group_size=5, max_tokens=6)
    ids, mask = encode_prompts(policy, prompts)
    assert rollout.group_size == 5 and len(rollout.texts) == 15
    assert rollout.completion_ids.shape == rollout.mask.shape == rollout.logprobs.shape == (15, 6)
    for row in range(15):
        assert torch.equal(rollout.prompt_ids[row], ids[row // 5])
        assert torch.equal(rollout.prompt_mask[row], mask[row // 5])


def test_texts_are_without_special_tokens(policy, problems):
    rollout = roll(policy, prompts_of(policy, problems), group_size=8)
    special = {"<pad>", "<end>", "<unk>"}
    for text, completion in zip(rollout.texts, completions(rollout), strict=True):
        assert text.split() == [WORDS[token] for token in completion if WORDS[token] not in special]


@pytest.mark.parametrize("group_size, max_tokens", [(1, 1), (1, 7), (5, 1)])
def test_one_row_a_prompt_and_one_token_a_row(any_policy, problems, group_size, max_tokens):
    prompts = prompts_of(any_policy, problems)
    rollout = roll(any_policy, prompts, group_size, max_tokens)
    assert len(rollout.mask) == group_size * len(prompts)
    assert rollout.mask.shape[1] <= max_tokens
    for shared in {1, group_size}:
        logprobs = score(any_policy, rollout, group_size=shared)
        assert largest_gap(logprobs, literal_logprobs(any_policy.model, rollout)) < 2e-5
    if max_tokens == 1:
        assert rollout.truncated.tolist() == [
            completion[0] not in END_IDS for completion in completions(rollout)
        ]


def test_a_rollout_is_as_wide_as_its_longest_completion(problems):
    """Once every row has ended, no more columns are made, and none is needed."""
    policy = make_tiny("gpt2")
    rollout = roll(policy, prompts_of(policy, problems[:2]), group_size=2, max_tokens=60)
    assert rollout.mask.shape[1] == rollout.lengths.max() < 60
    assert not rollout.truncated.any()


def test_sampling_turns_dropout_off_and_leaves_the_model_as_it_was(problems):
    policy = make_tiny("gpt2")
    assert policy.model.config.attn_pdrop > 0
    prompts = prompts_of(policy, problems)
    expected = roll(policy, prompts)
    policy.model.train()
    assert_same_rollout(roll(policy, prompts), expected)
    assert policy.model.training
    policy.model.eval()
    roll(policy, prompts)
    assert not policy.model.training


def test_a_rollout_keeps_no_graph_and_changes_no_weight(policy, problems):
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    rollout = roll(policy, prompts_of(policy, problems))
    assert not rollout.logprobs.requires_grad
    for name, value in policy.model.state_dict().items():
        assert torch.equal(value, before[name])


# --- scoring whole groups at once -----------------------------------------------------------------


def value_and_gradient(model, rollout, group_size):
    """Log-probs, and the gradient of a weighted sum of them in every weight."""
    model.zero_grad()
    ids = rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, rollout.mask
    logprobs = token_logprobs(model, *ids, group_size=group_size)
    weights = torch.randn(logprobs.shape, generator=torch.Generator().manual_seed(1))
    (logprobs * weights).sum().backward()
    return logprobs.detach(), torch.cat(
        [parameter.grad.flatten() for parameter in model.parameters()]
    )


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_sharing_prompts_changes_neither_value_nor_gradient(family, problems):
    policy = make_tiny(family, dtype=torch.float64)
    rollout = roll(policy, prompts_of(policy, problems), group_size=4)
    value, gradient = value_and_gradient(policy.model, rollout, 1)
    shared_value, shared_gradient = value_and_gradient(policy.model, rollout, 4)
    assert torch.allclose(shared_value, value, rtol=0, atol=2e-6)  # the log-softmax is float32 (S9)
    assert torch.allclose(shared_gradient, gradient, rtol=1e-6, atol=1e-6 * gradient.abs().max())
    assert gradient.abs().max() > 0.1


@pytest.mark.parametrize("group_size", [1, 4])
def test_the_gradient_is_that_of_one_row_at_a_time(any_policy, problems, group_size):
    """The same weighted sum from rows without padding, each through the model by itself, in
    float64."""
    rollout = roll(any_policy, prompts_of(any_policy, problems[:3]), group_size=4)
    model = any_policy.model.double()
    _, gradient = value_and_gradient(model, rollout, group_size)
    weights = torch.randn(rollout.mask.shape, generator=torch.Generator().manual_seed(1))
    model.zero_grad()
    for i, (prompt, completion) in enumerate(rows_of(rollout)):
        logits = model(input_ids=torch.tensor([prompt + completion]), use_cache=False).logits[0]
        each = [
            logits[len(prompt) + t - 1].log_softmax(-1)[token] for t, token in enumerate(completion)
        ]
        sum(weight * logprob for weight, logprob in zip(weights[i], each, strict=False)).backward()
    literal = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert torch.allclose(gradient, literal, rtol=1e-5, atol=1e-6 * literal.abs().max())


def test_what_stands_in_the_padding_is_not_scored(any_policy, problems):
    rollout = roll(any_policy, prompts_of(any_policy, problems))
    before = score(any_policy, rollout)
    rollout.completion_ids[rollout.mask == 0] = ID["Ben"]
    for group_size in (1, 3):
        assert torch.allclose(score(any_policy, rollout, group_size=group_size), before, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("group_size", [1, 3])
def test_entropy_is_that_of_each_position_s_distribution(
    any_policy, problems, group_size, temperature
):
    rollout = roll(any_policy, prompts_of(any_policy, problems[:2]), max_tokens=5)
    ids = rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, rollout.mask
    with torch.no_grad():
        _, entropy = score_tokens(any_policy.model, *ids, temperature, group_size)
    literal = []
    for prompt, completion in rows_of(rollout):
        row = []
        for t in range(len(completion)):
            logits = next_logits(any_policy.model, prompt + completion[:t]) / temperature
            row.append(-sum(p * math.log(p) for p in logits.softmax(dim=-1).tolist()))
        literal.append(row)
    assert largest_gap(entropy, literal) < 2e-5
    logprobs, entropy = score_tokens(any_policy.model, *ids, temperature, group_size)
    assert logprobs.requires_grad and entropy is None, "where a gradient is recorded it is left out"


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "group_size, max_tokens, temperature",
    [
        (0, 5, 1.0),
        (2, 0, 1.0),
        (-1, 5, 1.0),
        (2, 5, -0.1),
        (2, 5, float("nan")),
        (2, 5, float("inf")),
    ],
)
def test_sizes_and_temperatures_that_make_no_rollout(policy, group_size, max_tokens, temperature):
    with pytest.raises(
        ValueError, match="group_size and max_tokens must be at least 1 and temperature at least 0"
    ):
        sample_groups(policy, ["5 + 6"], group_size, max_tokens, temperature)


@pytest.mark.parametrize(
    "prompts", [[], [""], ["5", ""], ["5", None], [5], "5 + 6", ["   "], ["5", " \n"]]
)
def test_prompts_that_are_none(policy, prompts):
    """Also one text in place of a list of texts, and a blank, which has no token at all."""
    with pytest.raises(ValueError, match="prompts must be"):
        sample_groups(policy, prompts, 2, 3)


def test_completions_longer_than_the_model_s_positions_are_refused_clearly():
    """GPT-2 has a vector for each of its 96 positions and none beyond."""
    policy = make_tiny("gpt2")
    with pytest.raises(ValueError, match="96"):
        roll(policy, ["5 " * 90], max_tokens=20)


# --- logits that are not finite -------------------------------------------------------------------

INF = float("inf")
BAD_LOGITS = {
    "NaN": [0.0, float("nan"), 1.0],
    "infinity": [0.0, INF, 1.0],
    "two infinities": [INF, INF, 1.0],
    "minus infinity everywhere": [-INF, -INF, -INF],
}


@pytest.mark.parametrize("logits", BAD_LOGITS.values(), ids=BAD_LOGITS.keys())
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_one_bad_logit_shows_in_the_log_prob_of_whatever_is_picked(logits, temperature):
    for noise in (0.0, 0.5, 0.999):
        _, logprobs = pick_tokens(
            torch.tensor([logits, [0.0, -INF, 1.0]]), torch.full((2,), noise), temperature
        )
        assert logprobs.isfinite().tolist() == [False, True]


def spoil(model, value):
    """One weight of the last layer, whatever the family calls it."""
    with torch.no_grad():
        list(model.parameters())[-1].view(-1)[0] = value


@pytest.mark.parametrize("value", [float("nan"), INF, -INF])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_one_bad_weight_is_not_sampled_from(any_policy, problems, value, temperature):
    spoil(any_policy.model, value)
    with pytest.raises(FloatingPointError, match="not finite.*weights.*load it again"):
        roll(any_policy, prompts_of(any_policy, problems), temperature=temperature)
    with pytest.raises(FloatingPointError, match="not finite"):
        evaluate(any_policy, problems, 4)


@pytest.mark.parametrize("kind", [CacheDecoder, LayerDecoder, GraphDecoder, PlainDecoder])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_overflow_in_float16_says_what_to_do(problems, kind, temperature):
    policy = make_tiny()
    with torch.no_grad():
        policy.model.model.layers[1].mlp.down_proj.weight *= 1e6
    prompts = prompts_of(policy, problems)
    assert roll(policy, prompts, make_decoder=kind).texts, "float32 holds such numbers"
    policy.compute_dtype = torch.float16
    with pytest.raises(FloatingPointError, match="float16.*overflow.*bfloat16 or torch.float32"):
        roll(policy, prompts, temperature=temperature, make_decoder=kind)


# --- models without a cache of keys and values ----------------------------------------------------

LINEAR = {
    "linear_num_value_heads": 2,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
    "head_dim": 8,
}
EXPERTS = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16}
STATEFUL = {
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "mamba": {"state_size": 4},
    "mamba2": {"state_size": 4, "num_heads": 8, "head_dim": 8, "n_groups": 1},
    "jamba": {
        "mamba_d_state": 4,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "use_mamba_kernels": False,
    },
    "qwen3_next": LINEAR | EXPERTS | {"shared_expert_intermediate_size": 16},
    "openai-gpt": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
}


@pytest.mark.parametrize("family", STATEFUL)
def test_a_model_with_a_recurrent_state_or_no_cache_is_decoded_the_plain_way(problems, family):
    policy = make_policy(make_any(family, **STATEFUL[family]), make_tokenizer(), family)
    prompts = prompts_of(policy, problems[:4])
    assert isinstance(decoder_for(policy.model, 5), PlainDecoder)
    rollout = roll(policy, prompts, group_size=3, max_tokens=8, seed=5)
    assert completions(rollout) == literal_samples(policy, prompts, 3, 8, 1.0, seed=5)
    assert largest_gap(rollout.logprobs, literal_logprobs(policy.model, rollout)) < 1e-4
    assert largest_gap(rollout.logprobs, score(policy, rollout, group_size=3)) < 1e-4


WINDOWS = {
    "in every layer": {"max_window_layers": 0},
    "in the second layer": {"max_window_layers": 1},
    "in no layer after all": {"max_window_layers": 2},
    "as the layers' kinds": {"layer_types": ["full_attention", "sliding_attention"]},
}


@pytest.mark.parametrize("changes", WINDOWS.values(), ids=WINDOWS.keys())
def test_a_sliding_window_is_scored_as_it_is_sampled(problems, changes):
    """Prompts and completions longer than the window; a group scored in one row and row by row."""
    policy = make_tiny("qwen2", use_sliding_window=True, sliding_window=6, **changes)
    rollout = roll(policy, prompts_of(policy, problems), group_size=3, max_tokens=12)
    assert largest_gap(rollout.logprobs, literal_logprobs(policy.model, rollout)) < 2e-5
    for group_size in (1, 3):
        assert largest_gap(rollout.logprobs, score(policy, rollout, group_size=group_size)) < 2e-5


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_window_that_the_model_does_not_use_cuts_nothing(problems, family):
    """transformers makes the cache by the configuration, whether or not the model has such a
    window."""
    policy = make_tiny(family)
    policy.model.config.sliding_window = 6
    rollout = roll(policy, prompts_of(policy, problems), group_size=2, max_tokens=8)
    assert largest_gap(rollout.logprobs, literal_logprobs(policy.model, rollout)) < 2e-5


@pytest.mark.parametrize("group_size", [4, 5])
def test_rows_that_make_no_whole_groups(policy, problems, group_size):
    rollout = roll(policy, prompts_of(policy, problems[:3]), group_size=2)
    with pytest.raises(ValueError, match=f"whole groups of {group_size}"):
        score(policy, rollout, group_size=group_size)


def test_shapes_that_do_not_fit(policy, problems):
    rollout = roll(policy, prompts_of(policy, problems[:3]), group_size=2)
    ids = rollout.prompt_ids, rollout.prompt_mask, rollout.completion_ids, rollout.mask
    with pytest.raises(ValueError, match="must have the same rows"):
        token_logprobs(policy.model, ids[0][:3], ids[1][:3], *ids[2:])
    with pytest.raises(ValueError, match="must have the same rows"):
        token_logprobs(policy.model, *ids[:3], ids[3][:, :-1])


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_at_which_nothing_is_sampled_scores_nothing(policy, problems, temperature):
    rollout = roll(policy, prompts_of(policy, problems[:3]))
    with pytest.raises(ValueError, match="temperature"):
        score(policy, rollout, temperature=temperature)
