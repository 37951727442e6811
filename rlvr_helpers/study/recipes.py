"""Which settings suit which model and which card?"""

from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoConfig

from rlvr_helpers.engine.parallel import cores
from rlvr_helpers.models import KNOWN, default_device, kept_prompt
from rlvr_helpers.study.memory import (
    SHAPES,
    Card,
    Shape,
    Workload,
    cheapest_fit,
    known_card,
    step_seconds,
)
from rlvr_helpers.train_settings import TrainSettings

# Of a GSM8K question in its chat template: what calculations go by.
PROMPT_TOKENS = 150

# SmolLM2: rates above 1e-5 or few prompts per step shrink its pass@k. Qwen: we have not run it yet,
# since its weights were not available. Its rate lies between the papers' 1e-6 and the original
# comparison's 5e-6.
_LARGE = {
    "micro_batch_tokens": 8192,
    "warmup_steps": 5,
    "decay_steps": None,
    "eval_every": 20,
    "checkpoint_minutes": 5.0,
}
RECIPES = {
    "tiny": TrainSettings(),
    "smollm2-135m": TrainSettings(
        steps=100, prompts_per_step=32, learning_rate=1e-5, max_tokens=96, **_LARGE
    ),
    "qwen2.5-0.5b": TrainSettings(steps=200, learning_rate=2e-6, max_tokens=400, **_LARGE),
    "qwen2.5-1.5b": TrainSettings(steps=200, learning_rate=2e-6, max_tokens=400, **_LARGE),
}


def like(policy: str) -> str:
    """The known policy whose settings and problems suit a policy.

    That is the policy itself, if it is known. For a folder that `save_policy` made, it is the one
    that it was made from. For another folder it is `tiny` if the model in it is as small, else
    Qwen2.5-0.5B.
    """
    if policy in RECIPES:
        return policy
    if (kept := kept_prompt(policy)) and kept["like"]:
        return kept["like"]
    # A model of unknown sizes is taken for a large one, which is the careful guess.
    shape = shape_for(policy)
    return "tiny" if shape and shape.parameters < 10**7 else "qwen2.5-0.5b"


def own_settings(policy: str) -> TrainSettings:
    """The settings that suit a policy on any machine. For a folder they are those of `like`, with
    what its policy.json changes.

    Raises ValueError on a policy.json whose settings make no run.
    """
    kept = kept_prompt(policy) if policy not in RECIPES else None
    # A person can have edited the file.
    try:
        return replace(RECIPES[like(policy)], **(kept["settings"] if kept else {}))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"policy.json in {Path(policy).name!r} has settings that make no run ({error}):"
            " correct it or remove it"
        ) from error


def settings_for(policy: str) -> TrainSettings:
    """The settings that suit a policy here. For a folder see `own_settings`. Without a GPU a
    checkpoint is small beside a step's time, so there every step has one."""
    settings = own_settings(policy)
    return settings if torch.cuda.is_available() else replace(settings, checkpoint_minutes=None)


def problems_for(policy: str) -> str:
    """The problems that suit a policy: tiny has word problems, SmolLM2 sums, Qwen and most folders
    GSM8K. A folder that `save_policy` made says it itself."""
    if policy not in KNOWN and (kept := kept_prompt(policy)):
        return kept["problems"]
    return KNOWN[like(policy)].problems


def eval_count_for(source: str) -> int:
    """How many held-out problems are evaluated: all 1,319 of GSM8K's test split, 200 of others."""
    return 1319 if source == "gsm8k" else 200


def shape_for(policy: str) -> Shape | None:
    """The sizes of a known policy, or of the model in a folder. None if they cannot be told."""
    if policy in SHAPES:
        return SHAPES[policy]
    try:
        folder = Path(policy).expanduser()
        if not folder.is_dir():
            return None
        return Shape.of(AutoConfig.from_pretrained(folder, trust_remote_code=False))
    # No configuration in it, a broken one, or another family: load_policy says it better.
    except Exception:
        return None


def this_card() -> Card | None:
    """This machine's GPU, with the speed of the known card of its name, or one whose speed is not
    known. None without a GPU, or if RLVR_DEVICE sets it aside."""
    if default_device().type != "cuda":
        return None
    name = torch.cuda.get_device_name()
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    return replace(known_card(name) or Card(name, memory), name=name, memory_gib=memory)


def workload(
    settings: TrainSettings, lora_rank: int | None = None, reference: bool = True
) -> Workload:
    """One step of these settings, as the calculator in `memory` counts it."""
    return Workload(
        prompts=settings.prompts_per_step,
        group_size=settings.group_size,
        prompt_tokens=PROMPT_TOKENS,
        completion_tokens=settings.max_tokens,
        updates_per_token=settings.epochs,
        minibatches=settings.minibatches,
        # Without a budget of tokens a whole mini-batch goes through the model at once.
        micro_batch_tokens=settings.micro_batch_tokens or 2**20,
        lora_rank=lora_rank,
        reference=reference,
        eight_bit_optimizer=settings.eight_bit_optimizer,
        gradient_checkpointing=settings.gradient_checkpointing,
    )


def fit_to_card(
    policy: str, settings: TrainSettings, card: Card, reference: bool = True
) -> tuple[TrainSettings, int | None] | None:
    """Settings and a LoRA rank (None: all weights are trained) with which training fits a card.

    It takes gradient checkpointing if it must, then LoRA. None if nothing fits. What cannot be told
    is taken to fit.
    """
    shape = shape_for(policy)
    if shape is None:
        return settings, None
    # The reference is a second copy of the weights, so it counts.
    found = cheapest_fit(shape, workload(settings, reference=reference), card)
    if found is None:
        return None
    return replace(settings, gradient_checkpointing=found.gradient_checkpointing), found.lora_rank


def seconds_a_step(
    policy: str, settings: TrainSettings, lora_rank: int | None, card: Card
) -> float | None:
    """What the calculator expects of a step on a card. None if the model's sizes or the card's
    speed are not known."""
    shape = shape_for(policy)
    if shape is None or not card.speed_is_known:
        return None
    return step_seconds(shape, workload(settings, lora_rank), card)


def on_this_card(
    name: str, settings: TrainSettings, card: Card | None = None
) -> tuple[TrainSettings, int | None]:
    """The settings, with what it takes to fit a GPU (None: this machine's), and a LoRA rank or
    None. Raises ValueError if the model does not fit in any way that is known here."""
    card = card or this_card()
    if card is None or name == "tiny":
        return settings, None
    # A KL that is only watched needs the reference too.
    fitting = fit_to_card(name, settings, card, reference=settings.track_kl)
    if fitting is None:
        raise ValueError(
            f"{name} does not fit the {card.name} ({card.memory_gib:.0f} GiB), not with LoRA and"
            " gradient checkpointing either: take a smaller model, or fewer prompts_per_step,"
            " max_tokens or micro_batch_tokens"
        )
    return fitting


def workers_for(name: str, runs: int) -> int:
    """How many runs to make side by side: of `tiny` one per core, at most four (each takes 0.6 GB),
    of a larger policy one."""
    return min(cores(), runs, 4) if name == "tiny" else 1
