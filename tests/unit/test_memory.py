"""The calculator against what can be counted: transformers' own models, tensors that autograd
keeps, sums by hand."""

import ast
import sys
from dataclasses import fields, replace
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from small_policies import make_model
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoConfig,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from rlvr_helpers.engine.decoding import GraphDecoder
from rlvr_helpers.paths import DATA
from rlvr_helpers.scoring import score_hidden
from rlvr_helpers.study import memory
from rlvr_helpers.study.memory import (
    CARDS,
    GIB,
    SHAPES,
    Card,
    Shape,
    Workload,
    cheapest_fit,
    fits,
    known_card,
    layer_bytes,
    memory_gib,
    memory_parts,
    seconds_parts,
    start_parts,
    step_seconds,
    trained_parameters,
)

LARGE, SMALL = SHAPES["qwen2.5-1.5b"], Shape(2, 4, 2, 1, 2, 8, 10, tied=True, qkv_bias=True)
STEP = Workload(prompts=1, group_size=2, prompt_tokens=3, completion_tokens=5)  # 13 places
SLOW = Card("slow", 1, 1, 0.001, True)  # a billion bytes and a billion FLOPs a second
AT_PEAK = {"bandwidth": 1, "peak": 1}


# -- weights


def published(name: str):
    """The configurations as published, and the counts that go with them."""
    sizes = {
        "smollm2-135m": (LlamaConfig, 576, 30, 9, 3, 1536, 49152, 134_515_008),
        "qwen2.5-0.5b": (Qwen2Config, 896, 24, 14, 2, 4864, 151936, 494_032_768),
        "qwen2.5-1.5b": (Qwen2Config, 1536, 28, 12, 2, 8960, 151936, 1_543_714_304),
    }
    kind, hidden, layers, heads, kv_heads, mlp, vocab, count = sizes[name]
    config = kind(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=mlp,
        vocab_size=vocab,
        tie_word_embeddings=True,
    )
    return config, count


def on_no_device(config):
    with torch.device("meta"):
        return (LlamaForCausalLM if config.model_type == "llama" else Qwen2ForCausalLM)(config)


def in_products(model) -> int:
    return sum(
        module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear)
    )


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "tiny"])
def test_weights_are_those_of_the_published_models(name):
    config, count = published(name)
    model, shape = on_no_device(config), SHAPES[name]
    assert Shape.of(config) == shape
    assert shape.parameters == count == model.num_parameters()
    assert shape.matrix_parameters == in_products(model)


def test_weights_of_tiny_are_those_of_its_folder():
    config = AutoConfig.from_pretrained(DATA / "tiny")
    assert Shape.of(config) == SHAPES["tiny"]
    assert (
        SHAPES["tiny"].parameters
        == LlamaForCausalLM.from_pretrained(DATA / "tiny").num_parameters()
    )


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [True, False])
def test_weights_with_and_without_a_last_matrix_of_its_own(family, tied):
    model = make_model(family, tie_word_embeddings=tied)
    shape = Shape.of(model.config)
    assert (shape.parameters, shape.matrix_parameters) == (
        model.num_parameters(),
        in_products(model),
    )


def test_configurations_that_are_not_known_are_refused():
    for config in (GPT2Config(), LlamaConfig(attention_bias=True), LlamaConfig(mlp_bias=True)):
        with pytest.raises(ValueError, match="only Llama without biases and Qwen2 are known here"):
            Shape.of(config)


def test_adapters_are_two_thin_matrices_beside_each_matrix():
    layer = LlamaForCausalLM.from_pretrained(DATA / "tiny").model.layers[0]
    matrices = [module for module in layer.modules() if isinstance(module, torch.nn.Linear)]
    assert len(matrices) == 7
    count = 4 * sum(16 * (m.in_features + m.out_features) for m in matrices)
    assert trained_parameters(SHAPES["tiny"], Workload(lora_rank=16)) == count


# -- memory


def test_memory_by_hand():
    parts = {name: size * GIB for name, size in memory_parts(SMALL, STEP).items()}
    assert (SMALL.parameters, SMALL.matrix_parameters) == (364, 328)
    assert (
        layer_bytes(SMALL, 13) == 2 * (16 + 16 + 4) + 5 * 8 + 4 * 8 + 2 * 4 + 13 * 2 + 4 * 16 == 242
    )
    assert parts == {
        "weights": 4 * 364,
        "gradients": 4 * 364,
        "optimizer": 8 * 364,
        "reference": 0,
        "16-bit copies": 2 * 328,
        "activations": 13 * (2 * 242 + 3 * 16),
        "logits": 5 * 4 * 13 * 10 + 2 * 10 * 4,
        "cache": 13 * 2 * 2 * 2 * 1 * 2,
    }
    assert memory_gib(SMALL, STEP) * GIB == 16076  # all of it but the cache


def test_memory_of_each_saving_by_hand():
    def part(name, **changes):
        return memory_parts(SMALL, replace(STEP, **changes))[name] * GIB

    assert part("activations", gradient_checkpointing=True) == 13 * (16 + 242 + 3 * 16)
    assert part("optimizer", eight_bit_optimizer=True) == 364 * 2 + 2 * 4 * 364 / 256
    assert part("reference", reference=True) == 4 * 364
    assert part("reference", reference=True, lora_rank=1) == 0
    adapters = 2 * (8 + 6 + 6 + 8 + 12 + 12 + 12)
    assert part("weights", lora_rank=1) == 4 * (364 + adapters)
    assert (
        part("gradients", lora_rank=1) == 4 * adapters
        and part("optimizer", lora_rank=1) == 8 * adapters
    )
    assert part("logits", lora_rank=1) == 5 * 4 * 13 * 10


def test_a_long_cache_is_the_peak_where_little_goes_through_the_model_at_once():
    many = Workload(prompts=1024, group_size=16, micro_batch_tokens=1)
    parts = memory_parts(LARGE, many)
    assert parts["cache"] > parts["activations"] + parts["logits"]
    assert memory_gib(LARGE, many) == pytest.approx(
        sum(parts.values()) - parts["activations"] - parts["logits"]
    )


def test_training_1_5_billion_weights_takes_25_gigabytes_before_the_first_token():
    parts = memory_parts(LARGE, Workload())
    assert 24.5 < (parts["weights"] + parts["gradients"] + parts["optimizer"]) * GIB / 1e9 < 25.0


def test_logits_are_held_to_the_limit_of_the_trainer():
    few, many = (memory_parts(LARGE, Workload(micro_batch_tokens=n))["logits"] for n in (500, 4096))
    assert few == many == (5 * 4 * 2**26 + 2 * 151936 * 1536) / GIB


def test_logits_are_what_torch_really_takes():
    """At the peak of scoring 1024 tokens in four parts, forward and backward, by the profiler's
    record of memory."""
    head, hidden = torch.nn.Linear(16, 1024, bias=False), torch.randn(1024, 16, requires_grad=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        with torch.autocast("cpu", torch.bfloat16):
            logp, _ = score_hidden(head, hidden, torch.arange(1024), 1.0, largest=2**18)
        logp.sum().backward()
    events = [
        event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"
    ]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    assert max(accumulate(changes)) / (memory.LOGIT_COPIES * 4 * 2**18) == pytest.approx(1, abs=0.1)


def kept_by_autograd(model, rows: int, width: int) -> int:
    """Bytes of every tensor that the backward pass of a packed forward needs, its weights aside."""
    weights, kept = {p.untyped_storage().data_ptr() for p in model.parameters()}, {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    look = torch.ones(width, width, dtype=torch.bool).tril().expand(rows, 1, width, width)
    ids, positions = (
        torch.ones(rows, width, dtype=torch.long),
        torch.arange(width).expand(rows, width),
    )
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x),
        torch.autocast("cpu", torch.bfloat16),
    ):
        out = model.model(
            input_ids=ids, attention_mask=look, position_ids=positions, use_cache=False
        )
    assert out.last_hidden_state.requires_grad  # and the graph still holds what was counted
    return sum(kept.values())


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("width", [24, 160])
def test_activations_are_what_autograd_really_keeps(family, width):
    """Of three rows less of one, so that the weights' 16-bit copies, which are kept as well, drop
    out."""
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 176,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
    }
    model = make_model(family, max_position_embeddings=256, **sizes)
    real = kept_by_autograd(model, 3, width) - kept_by_autograd(model, 1, width)
    work = Workload(prompts=1, group_size=4, prompt_tokens=4, completion_tokens=(width - 4) // 4)
    shape = Shape.of(model.config)
    one, three = (
        memory_parts(shape, replace(work, prompts=n))["activations"] * GIB for n in (1, 3)
    )
    assert work.row == width
    assert (three - one) / real == pytest.approx(1, abs=0.1)


COUNTS = ("prompts", "group_size", "prompt_tokens", "completion_tokens", "micro_batch_tokens")


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_more_tokens_never_take_less_memory(shape):
    for count in COUNTS:
        for saving in ({}, {"gradient_checkpointing": True}, {"lora_rank": 16}):
            sizes = [
                memory_gib(shape, Workload(**saving | {count: n}))
                for n in (1, 2, 7, 64, 511, 512, 513, 5000)
            ]
            assert sizes == sorted(sizes)


@pytest.mark.parametrize("shape", [*SHAPES.values(), replace(SMALL, layers=1)])
@pytest.mark.parametrize(
    "work", [Workload(), STEP, Workload(reference=True, prompts=64, completion_tokens=2000)]
)
def test_no_saving_takes_more_memory(shape, work):
    checkpointed = replace(work, gradient_checkpointing=True)
    assert (
        memory_parts(shape, checkpointed)["activations"] <= memory_parts(shape, work)["activations"]
    )
    for before in (work, checkpointed):
        assert memory_gib(shape, replace(before, eight_bit_optimizer=True)) < memory_gib(
            shape, before
        )
        assert memory_gib(shape, replace(before, lora_rank=1)) < memory_gib(shape, before)


def test_at_least_one_completion_goes_through_the_model_and_at_most_all():
    assert Workload(micro_batch_tokens=1).places_at_once == 500
    assert Workload(micro_batch_tokens=10**6).places_at_once == 2 * 3300
    assert (Workload().side, Workload(micro_batch_tokens=1000).side) == (3300, 1000)


# -- time


def in_nanoseconds(card=SLOW, reached=AT_PEAK, **changes):
    return {
        part: s * 1e9
        for part, s in seconds_parts(SMALL, replace(STEP, **changes), card, reached).items()
    }


def test_seconds_by_hand():
    product, attention = 13 * 2 * 328, 13 * 13 * 4 * 2 * 4
    assert in_nanoseconds() == pytest.approx(
        {
            # arithmetic of 2 rows: each sees 8 of the group's places
            "generation": 5 * 2 * (2 * 328 + 8 * 4 * 2 * 4),
            "scoring": product + attention,
            "forward": product + attention,
            "backward": 2 * (product + attention),
            "optimizer": 28 * 364,
        }
    )
    fast = in_nanoseconds(replace(SLOW, tflops=1))
    # weights and cache are read
    assert fast["generation"] == pytest.approx(5 * (2 * 328 + 8 * 2 * 2 * 2 * 1 * 2))


def test_seconds_of_each_choice_by_hand():
    plain, product, attention = in_nanoseconds(), 13 * 2 * 328, 13 * 13 * 4 * 2 * 4
    assert in_nanoseconds(gradient_checkpointing=True)["backward"] == pytest.approx(
        3 * (product + attention)
    )
    lora = in_nanoseconds(lora_rank=1)
    assert lora["backward"] == pytest.approx(product + 2 * attention) and lora[
        "optimizer"
    ] == pytest.approx(28 * 128)
    assert in_nanoseconds(reference=True)["scoring"] == pytest.approx(2 * plain["scoring"])
    assert in_nanoseconds(eight_bit_optimizer=True)["optimizer"] == pytest.approx(
        364 * (12 + 2 * (2 + 8 / 256))
    )
    thrice = in_nanoseconds(updates_per_token=3)
    for part, once in plain.items():
        assert thrice[part] == pytest.approx(
            once * (3 if part in ("forward", "backward", "optimizer") else 1)
        )


def test_half_the_share_takes_twice_the_time():
    fast, plain = replace(SLOW, tflops=1), {"bandwidth": 0.5}
    whole, half = in_nanoseconds(fast), in_nanoseconds(fast, {"bandwidth": 0.5, "peak": 0.5})
    assert half == pytest.approx({part: 2 * once for part, once in whole.items()})
    default = in_nanoseconds(fast, None)
    assert in_nanoseconds(fast, plain) == default  # what is not named keeps its default
    assert default["scoring"] == pytest.approx(whole["scoring"] / 0.35)


# -- cards


def kind_of(work: Workload | None) -> str | None:
    if work is None:
        return None
    names = {
        "lora_rank": "LoRA",
        "eight_bit_optimizer": "8 bits",
        "gradient_checkpointing": "checkpointing",
    }
    return " ".join(word for name, word in names.items() if getattr(work, name)) or "full"


def test_which_training_fits_which_card():
    # those of lesson 12's table
    cards = ["T4", "RTX 3060", "RTX 4090", "A100 40GB", "A100 80GB", "H100"]
    found = {
        name: [kind_of(cheapest_fit(SHAPES[name], Workload(), CARDS[card])) for card in cards]
        for name in ("tiny", "smollm2-135m", "qwen2.5-0.5b", "qwen2.5-1.5b")
    }
    assert found["tiny"] == found["smollm2-135m"] == ["full"] * 6
    assert found["qwen2.5-0.5b"] == [
        "checkpointing",
        "checkpointing",
        "full",
        "full",
        "full",
        "full",
    ]
    assert found["qwen2.5-1.5b"][:3] == ["LoRA checkpointing", None, "LoRA checkpointing"]
    assert found["qwen2.5-1.5b"][3:] == ["checkpointing", "full", "full"]


def test_eight_bits_are_tried_before_lora_where_allowed():
    work, card = Workload(prompts=3, lora_rank=4), CARDS["RTX 4090"]
    assert kind_of(cheapest_fit(LARGE, work, card, allow_eight_bit=True)) == "8 bits checkpointing"
    assert kind_of(cheapest_fit(LARGE, work, card)) == "LoRA checkpointing"
    assert (
        cheapest_fit(LARGE, work, card).lora_rank == 16
        and cheapest_fit(LARGE, work, card).prompts == 3
    )


def test_what_is_chosen_fits_and_what_was_passed_over_does_not():
    for shape in SHAPES.values():
        for card in CARDS.values():
            chosen = cheapest_fit(shape, Workload(), card)
            assert chosen is None or memory_gib(shape, chosen) + 1.5 <= card.memory_gib
            assert chosen == Workload() or not fits(shape, Workload(), card)


def test_a_reserve_is_kept_free():
    card = replace(SLOW, memory_gib=memory_gib(LARGE, Workload()) + 2)
    assert fits(LARGE, Workload(), card, 1.9) and not fits(LARGE, Workload(), card, 2.1)


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA GeForce RTX 3090", "RTX 3090"),
        ("GeForce RTX 2080 Ti", "RTX 2080 Ti"),
        ("NVIDIA GeForce RTX 5090", "RTX 5090"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 Blackwell"),
        ("Tesla V100-SXM2-32GB", "V100"),
        ("Tesla V100-PCIE-16GB", "V100 PCIe"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 40GB PCIe"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB PCIe"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA GH200 480GB", "GH200 480GB"),
        ("NVIDIA B200", "B200"),
    ],
)
def test_a_card_is_told_by_every_word_of_its_name(name, card):
    assert known_card(name) is CARDS[card]


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA T400 4GB",
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 3060 Ti",
        "NVIDIA A10-24Q",
        "Quadro RTX 6000",
        "AMD Instinct MI300X",
        "",
    ],
)
def test_another_card_and_a_share_of_a_card_are_not_known(name):
    assert known_card(name) is None


def test_every_card_is_found_by_its_own_name_and_is_a_plausible_one():
    for name, card in CARDS.items():
        assert known_card(f"NVIDIA {name}") is card
        assert 10 <= card.memory_gib <= 192 and 300 <= card.bandwidth_gb_s <= 8000
        # FLOPs in the time of reading a byte: no card of these generations is far from the others.
        assert 30 <= 1000 * card.tflops / card.bandwidth_gb_s <= 500 and card.bfloat16 is not None


def test_without_a_speed_memory_is_calculated_and_time_is_not():
    card = Card("new", 80)
    assert not card.speed_is_known and cheapest_fit(LARGE, Workload(), card) == Workload()
    for calculate in (seconds_parts, step_seconds):
        with pytest.raises(ValueError, match="the speed of the card new is not known"):
            calculate(LARGE, Workload(), card)
    for half in ({"bandwidth_gb_s": 300}, {"tflops": 65}):
        with pytest.raises(ValueError, match="must be above 0"):
            Card("half", 16, **half)


# -- what starting the operations takes


def counted_operations(run) -> int:
    """Operations that touch numbers, views aside."""
    views = (
        "view _unsafe_view transpose permute expand slice select unsqueeze squeeze t alias detach"
        " split".split()
    )

    class Count(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.count += function.overloadpacket.__name__ not in views
            return function(*args, **(kwargs or {}))

    with Count() as counter:
        run()
    return counter.count


def operations(layers: int) -> dict[str, int]:
    model = make_model("qwen2", num_hidden_layers=layers)
    ids, mask = torch.ones(2, 8, dtype=torch.long), torch.ones(2, 1, 8, 8, dtype=torch.bool).tril()
    kept = []

    def forward():
        with torch.autocast("cpu", torch.bfloat16):
            out = model.model(
                input_ids=ids, attention_mask=mask, position_ids=torch.arange(8)[None].expand(2, 8)
            )
        kept.append(out.last_hidden_state.float().sum())

    decoder = GraphDecoder(model, 4, torch.bfloat16)
    with torch.inference_mode():
        decoder.start(ids, torch.ones_like(ids), 2)
        decoding = counted_operations(lambda: decoder.step(torch.ones(4, dtype=torch.long)))
    parts = {
        "forward": counted_operations(forward),
        "backward": counted_operations(lambda: kept[0].backward()),
    }
    return {"generation": decoding} | parts


def test_the_operations_of_a_layer_are_about_those_that_torch_dispatches():
    two, four = operations(2), operations(4)
    for part, count in memory.STARTS.items():
        assert (four[part] - two[part]) / 2 == pytest.approx(count, rel=0.2), part


def test_starts_by_hand():
    start, work = memory.SECONDS_A_START, replace(STEP, prompts=4, micro_batch_tokens=13)
    assert start_parts(SMALL, STEP) == pytest.approx(
        {
            "generation": 5 * 2 * 25 * start,
            "scoring": 112 * start,
            "forward": 112 * start,
            "backward": 192 * start,
        }
        | {"optimizer": 0}
    )
    # Four rows of 13 places one by one, and so in four mini-batches; in two, two of two rows.
    for passes, changed in (
        (4, work),
        (4, replace(work, minibatches=4)),
        (2, replace(STEP, prompts=4, minibatches=2)),
    ):
        assert start_parts(SMALL, changed)["forward"] == pytest.approx(passes * 112 * start)
    more = replace(STEP, reference=True, gradient_checkpointing=True, updates_per_token=3)
    parts = start_parts(SMALL, more)
    assert parts["scoring"] == pytest.approx(2 * 112 * start) and parts["forward"] == pytest.approx(
        3 * 112 * start
    )
    assert parts["backward"] == pytest.approx(3 * (112 + 192) * start)


def test_a_small_model_takes_what_starting_takes_and_a_large_one_what_computing_takes():
    small = Workload(prompts=32, group_size=8, completion_tokens=96, micro_batch_tokens=8192)
    small = replace(small, updates_per_token=2, minibatches=4, reference=True)
    computed = sum(seconds_parts(SHAPES["smollm2-135m"], small, CARDS["H100"]).values())
    assert computed < 0.3 and 0.8 < step_seconds(SHAPES["smollm2-135m"], small, CARDS["H100"]) < 1.3
    for card in ("T4", "RTX 3090"):
        parts = seconds_parts(LARGE, Workload(), CARDS[card])
        assert step_seconds(LARGE, Workload(), CARDS[card]) == pytest.approx(sum(parts.values()))


# -- input, imports


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "8", None])
def test_sizes_that_are_no_sizes_are_refused_by_name(value):
    for kind, given in ((Shape, SMALL), (Workload, Workload(lora_rank=1))):
        for field in fields(kind):
            is_choice = isinstance(getattr(given, field.name), bool) or (
                field.name == "lora_rank" and value is None
            )
            if not is_choice:
                with pytest.raises(
                    ValueError, match=f"{field.name} must be a whole number of at least 1"
                ):
                    replace(given, **{field.name: value})


def test_other_input_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="3 heads cannot share 2 key-value heads"):
        replace(SMALL, heads=3, kv_heads=2)
    for field in ("memory_gib", "bandwidth_gb_s", "tflops"):
        for value in (0, -1, float("nan"), float("inf")):
            with pytest.raises(ValueError, match="must be above 0"):
                replace(SLOW, **{field: value})
    for reached in (
        {"memory": 0.5},
        {"peak": 0},
        {"peak": 1.1},
        {"bandwidth": -0.5},
        {"bandwidth": float("nan")},
    ):
        with pytest.raises(ValueError, match="reached takes the shares bandwidth, peak"):
            seconds_parts(SMALL, STEP, SLOW, reached)
    for reserve in (-1, float("nan")):
        with pytest.raises(ValueError, match="reserve_gib"):
            cheapest_fit(SMALL, STEP, SLOW, reserve)


def test_it_imports_the_standard_library_alone():
    files = [Path(memory.__file__), Path(memory.__file__).with_name("cards.py")]
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    modules = {n.module for n in nodes if isinstance(n, ast.ImportFrom)}
    modules |= {name.name for n in nodes if isinstance(n, ast.Import) for name in n.names}
    modules -= {"rlvr_helpers.study.cards"}
    assert {module.partition(".")[0] for module in modules} <= sys.stdlib_module_names
