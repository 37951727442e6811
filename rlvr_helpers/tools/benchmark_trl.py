"""TRL's side of the benchmark: its own `train()` with our settings, in turns with ours."""

import tempfile
from collections.abc import Callable
from statistics import mean
from typing import TYPE_CHECKING

from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState

from rlvr_helpers.methods import GRPO
from rlvr_helpers.models import format_prompt
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.tools.measuring import StepWork, now

if TYPE_CHECKING:
    from trl import GRPOConfig


def drive_trl(work: StepWork, runs: list[dict], other_side: Callable[[], None]) -> None:
    """TRL's own `train()` with our settings, reward function, problems and start weights.

    A callback writes to `runs` after the last update of each rollout. Then it is the other side's
    turn.
    """
    from datasets import Dataset
    from trl import GRPOTrainer

    policy = work.fresh_policy()
    s = work.settings
    # The reward function sees each rollout, so it notes here what is compared.
    rollout = {}

    def reward(
        completions: list[str], answer: list[str], completion_ids: list[list[int]], **_: object
    ) -> list[float]:
        pairs = zip(completions, answer, strict=True)
        values = [correctness_reward(text, gold) for text, gold in pairs]
        groups = [values[i : i + s.group_size] for i in range(0, len(values), s.group_size)]
        rollout["tokens"] = sum(map(len, completion_ids))
        rollout["reward"] = mean(values)
        rollout["no_signal"] = mean(len(set(group)) == 1 for group in groups)
        rollout["golds"] = answer[:: s.group_size]
        return values

    class TakeTurns(TrainerCallback):
        def on_train_begin(self, *_: object, **__: object) -> None:
            self.start = now()

        def on_step_end(
            self, _: object, state: TrainerState, __: TrainerControl, **___: object
        ) -> None:
            if state.global_step % (s.epochs * s.minibatches) == 0:
                seconds = [end - start for end, start in zip(now(), self.start, strict=True)]
                runs.append(dict(zip(("seconds", "cpu_seconds"), seconds, strict=True)) | rollout)
                other_side()
                self.start = now()

    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=policy.model,
            args=trl_config(work, folder),
            reward_funcs=reward,
            processing_class=policy.tokenizer,
            train_dataset=Dataset.from_dict(rows_of(work)),
            callbacks=[TakeTurns()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def rows_of(work: StepWork) -> dict[str, list[str]]:
    """Prompts and answers of all turns, in our order."""
    problems = [problem for turn in range(work.repeats + 1) for problem in work.problems(turn)]
    return {
        "prompt": [format_prompt(work.policy, problem.question) for problem in problems],
        "answer": [problem.answer for problem in problems],
    }


def trl_config(work: StepWork, folder: str) -> "GRPOConfig":
    """Our settings in TRL's words. A rollout is cut into `minibatches` steps and used `epochs`
    times."""
    from trl import GRPOConfig

    s = work.settings
    return GRPOConfig(
        output_dir=folder,
        use_cpu=work.policy.device.type == "cpu",
        bf16=False,
        gradient_checkpointing=False,
        num_generations=s.group_size,
        per_device_train_batch_size=s.prompts_per_step * s.group_size // s.minibatches,
        steps_per_generation=s.minibatches,
        num_iterations=s.epochs,
        gradient_accumulation_steps=1,
        max_steps=(work.repeats + 1) * s.epochs * s.minibatches,
        max_completion_length=s.max_tokens,
        temperature=s.temperature,
        beta=0.0,
        epsilon=GRPO.clip_low,
        loss_type="grpo",
        scale_rewards="group",
        learning_rate=s.learning_rate,
        lr_scheduler_type="constant",
        adam_beta1=s.betas[0],
        adam_beta2=s.betas[1],
        weight_decay=s.weight_decay,
        max_grad_norm=s.max_grad_norm,
        disable_dropout=True,
        seed=s.seed,
        shuffle_dataset=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
