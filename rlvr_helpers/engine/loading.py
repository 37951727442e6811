"""Loading a model and its tokenizer from a folder, the hub or a package. What cannot be used is
refused."""

import hashlib
import importlib.util
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from huggingface_hub import constants, try_to_load_from_cache
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from rlvr_helpers.engine.json_files import read_json
from rlvr_helpers.engine.locks import while_saving

# Said in several places: what is wrong with some kinds of weights, and what to do.
NOT_TRAINED = "which cannot be trained here"
TAKE_ORIGINAL = "take the model that it was made from, in 16 or 32 bits"
MERGE_FIRST = (
    "merge it into its model (peft's merge_and_unload) and save that, or train LoRA anew with"
    " rlvr_helpers.engine.large.add_lora"
)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Without the bar that transformers shows while it loads weights. `tiny` loads in a tenth of a
    second."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _in_cache(where: str) -> bool:
    return isinstance(try_to_load_from_cache(where, "config.json"), str)


def _gguf_file(package: str | None) -> Path | None:
    """The GGUF file that an installed package carries. The package itself is not imported."""
    spec = importlib.util.find_spec(package) if package else None
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return min((f for folder in folders for f in Path(folder).glob("*.gguf")), default=None)


def _load(
    where: str, dtype: torch.dtype, package: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer. A package's weights are converted to plain numbers once and kept in the
    user's cache."""
    gguf = _gguf_file(package)
    if gguf is None or _in_cache(where):
        if Path(where).is_dir():
            _refuse_by_config(Path(where))
        return _read(where, where, dtype, package=package)
    # A package's weights: from the converted copy, which is made if there is none.
    copy = _copy_of(gguf)
    if not copy.is_dir():
        _keep(copy, *_read(where, gguf.parent, torch.float32, package=package, gguf_file=gguf.name))
    if copy.is_dir():
        with suppress(ValueError):
            return _read(where, copy, dtype, package=package)
        # The copy is damaged. Use the package's own file, and make a new copy next time.
        shutil.rmtree(copy, ignore_errors=True)
    return _read(where, gguf.parent, dtype, package=package, gguf_file=gguf.name)


def _copy_of(gguf: Path) -> Path:
    """Where the plain weights of a GGUF file are kept. It is in Hugging Face's cache folder, under
    a name made from the file's content."""
    with gguf.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return Path(constants.HF_HOME) / "rlvr_helpers" / f"{gguf.stem}-{content[:16]}"


def _keep(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Saves a model whole or not at all. If it cannot be written, it is converted again next
    time."""
    part = folder.with_name(f".{folder.name}.part")
    try:
        with while_saving(folder):
            shutil.rmtree(part, ignore_errors=True)
            model.save_pretrained(part)
            tokenizer.save_pretrained(part)
            if not folder.is_dir():
                part.rename(folder)
    # For a full disk safetensors has an error of its own.
    except Exception:
        shutil.rmtree(part, ignore_errors=True)


def _read(
    where: str,
    source: str | Path,
    dtype: torch.dtype,
    package: str | None = None,
    **options: object,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer from a source, never with code from the model's folder.

    Raises ValueError if a part is missing or the weights are not the model's. transformers itself
    would continue with random weights for missing ones.
    """
    # Left out, transformers asks on the terminal, and "y" runs the folder's code.
    options["trust_remote_code"] = False
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        model, report = AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, output_loading_info=True, **options
        )
    # transformers, tokenizers and safetensors each raise errors of their own.
    except Exception as error:
        raise ValueError(_what_is_wrong(where, error, package)) from error
    # Refuse weights that are missing, of another shape, or not finite.
    if report["missing_keys"] or report["mismatched_keys"]:
        raise ValueError(
            _what_is_wrong(where, "some of its weights are missing or of another shape")
        )
    # A layer like those of the model, of a number that its configuration does not count.
    extra = {_without_numbers(name) for name in report["unexpected_keys"]}
    if not extra.isdisjoint(map(_without_numbers, model.state_dict())):
        raise ValueError(
            _what_is_wrong(where, "config.json names fewer layers than its weights hold")
        )
    if not all(weight.isfinite().all() for weight in model.parameters()):
        raise ValueError(_what_is_wrong(where, "some of its weights are NaN or infinite"))
    # The weights are plain numbers now, and can be saved as such.
    if "gguf_file" in options:
        model.hf_quantizer = None
        del model.config.quantization_config
    return model, tokenizer


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "", name)


def _refuse_by_config(folder: Path) -> None:
    """Raises ValueError on a folder that transformers would load or ask about, but that cannot be
    used here."""
    if (folder / "adapter_config.json").is_file():
        raise ValueError(
            f"the folder {folder.name!r} holds an adapter, not a whole model: {MERGE_FIRST}"
        )
    # transformers passes over a broken one, and its end tokens are lost without a word.
    if (folder / "generation_config.json").is_file():
        read_json(folder / "generation_config.json")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # transformers will say what is wrong with it.
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(config, dict) and config.get("quantization_config"):
        raise ValueError(
            f"the folder {folder.name!r} holds quantised weights, {NOT_TRAINED}: {TAKE_ORIGINAL}"
        )
    if (
        isinstance(config, dict)
        and config.get("auto_map")
        and config.get("model_type") not in CONFIG_MAPPING
    ):
        raise ValueError(
            f"the folder {folder.name!r} holds a model of a kind that transformers does not know,"
            " with code of its own, which is never run here: take a model that transformers knows"
        )


def _what_is_wrong(where: str, why: object, package: str | None = None) -> str:
    """Why a model cannot be loaded, and what to do."""
    folder = Path(where)
    if folder.is_dir():
        # A folder: something in it is missing or broken.
        whole = (folder / "config.json").is_file()
        lacking = (
            "its weights or tokenizer files are missing or broken"
            if whole
            else "it lacks config.json"
        )
        return (
            f"the folder {folder.name!r} holds no model that can be loaded: {lacking}"
            f" ({str(why)[:150]}). Save the model there again, or give another folder"
        )
    # A name on the hub: it is neither in the cache nor within reach.
    install = ""
    if package:
        install = f", or install the packages {package.replace('_', '-')} (with --no-deps) and gguf"
    return (
        f"{where} is not on this machine and could not be downloaded. Either connect to the network"
        ' once, or give the folder of a downloaded copy: load_policy("path/to/folder")'
        f'{install}. The policy "tiny" needs none of it.'
    )
