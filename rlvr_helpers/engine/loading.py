"""Loads a model and its tokenizer from a folder, the hub or a package, and refuses what cannot be
used."""

import hashlib
import importlib.util
import json
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from huggingface_hub import constants, try_to_load_from_cache
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from rlvr_helpers.engine.locks import while_saving

NOT_TRAINED = "which cannot be trained here"


TAKE_ORIGINAL = "take the model that it was made from, in 16 or 32 bits"


MERGE_FIRST = (
    "merge it into its model (peft's merge_and_unload) and save that, or train LoRA anew with"
    " large.add_lora"
)


@contextmanager
def _no_progress_bar():
    """Without the bar that transformers shows while it loads weights: `tiny` takes a tenth of a
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
    """The GGUF file that an installed package carries; the package itself is not imported."""
    spec = importlib.util.find_spec(package) if package else None
    files = (
        [f for folder in spec.submodule_search_locations or () for f in Path(folder).glob("*.gguf")]
        if spec
        else []
    )
    return min(files, default=None)


def _load(where: str, dtype: torch.dtype, package: str | None = None):
    """Model and tokenizer. A package's weights are turned into plain numbers once and kept in the
    user's cache."""
    gguf = _gguf_file(package)
    if gguf is None or _in_cache(where):
        if Path(where).is_dir():
            _refuse_by_config(Path(where))
        return _read(where, where, dtype, package)
    copy = _copy_of(gguf)
    if not copy.is_dir():
        _keep(copy, *_read(where, gguf.parent, torch.float32, package, gguf_file=gguf.name))
    if copy.is_dir():
        with suppress(ValueError):
            return _read(where, copy, dtype, package)
        # damaged since: the package's own file serves, and the next time a new copy is made
        shutil.rmtree(copy, ignore_errors=True)
    return _read(where, gguf.parent, dtype, package, gguf_file=gguf.name)


def _copy_of(gguf: Path) -> Path:
    """Where the plain weights of a GGUF file are kept: in Hugging Face's cache folder, under a name
    made of its content."""
    with gguf.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return Path(constants.HF_HOME) / "rlvr_helpers" / f"{gguf.stem}-{content[:16]}"


def _keep(folder: Path, model, tokenizer) -> None:
    """Saves a model whole or not at all. Without room, or leave to write there, it is turned anew
    next time."""
    part = folder.with_name(f".{folder.name}.part")
    try:
        with while_saving(folder):
            shutil.rmtree(part, ignore_errors=True)
            model.save_pretrained(part)
            tokenizer.save_pretrained(part)
            if not folder.is_dir():
                part.rename(folder)
    except Exception:  # safetensors has a kind of its own for a full disk
        shutil.rmtree(part, ignore_errors=True)


def _read(
    where: str, source: str | Path, dtype: torch.dtype, package: str | None = None, **options
):
    """Model and tokenizer from a source, never with code from the model's folder. One that lacks a
    part, or whose weights are not the model's, is refused: transformers itself would go on with
    random weights in the place of missing ones."""
    # if left out, transformers asks on the terminal, and "y" runs the folder's code
    options["trust_remote_code"] = False
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        model, report = AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, output_loading_info=True, **options
        )
    # transformers, tokenizers and safetensors each raise kinds of their own
    except Exception as error:
        raise ValueError(_what_is_wrong(where, error, package)) from error
    if report["missing_keys"] or report["mismatched_keys"]:
        raise ValueError(
            _what_is_wrong(where, "some of its weights are missing or of another shape")
        )
    if not all(weight.isfinite().all() for weight in model.parameters()):
        raise ValueError(_what_is_wrong(where, "some of its weights are NaN or infinite"))
    if "gguf_file" in options:  # the weights are plain numbers now, and can be saved as such
        model.hf_quantizer = None
        del model.config.quantization_config
    return model, tokenizer


def _refuse_by_config(folder: Path) -> None:
    """Raises ValueError on a folder that transformers would load, or ask about, but that cannot be
    used here."""
    if (folder / "adapter_config.json").is_file():
        raise ValueError(
            f"the folder {folder.name!r} holds an adapter, not a whole model: {MERGE_FIRST}"
        )
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # transformers says what is wrong with it
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


def _what_is_wrong(where: str, why, package: str | None = None) -> str:
    folder = Path(where)
    if folder.is_dir():
        whole = (folder / "config.json").is_file()
        lacking = (
            "its weights or tokenizer files are missing or broken"
            if whole
            else "it lacks config.json"
        )
        return (
            f"the folder {folder.name!r} holds no model that can be loaded: {lacking}"
            f" ({str(why)[:150]})"
        )
    return (
        f"{where} is not on this machine and could not be downloaded. Either connect to the network"
        ' once, or give the folder of a downloaded copy: load_policy("path/to/folder")'
        + (
            f", or install the packages {package.replace('_', '-')} (with --no-deps) and gguf"
            if package
            else ""
        )
        + '. The policy "tiny" needs none of it.'
    )
