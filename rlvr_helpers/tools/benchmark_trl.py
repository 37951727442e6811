"""TRL's side of the benchmark: its own `train()` with our settings, in turns with ours."""

import tempfile
from collections.abc import Callable
from statistics import mean

from transformers import TrainerCallback, TrainerState

from rlvr_helpers.methods import GRPO
from rlvr_helpers.rewards import correctness_reward
from rlvr_helpers.study.trl import ProgressLine, make_trainer
from rlvr_helpers.tools.measuring import StepWork, now
from rlvr_helpers.train_settings import TrainSettings


def drive_trl(
    work: StepWork, settings: TrainSettings, runs: list[dict], other_side: Callable[[], None]
) -> None:
    """TRL's own `train()` with these settings, our reward function, problems and start weights.

    A callback writes to `runs` after the last update of each rollout. Then it is the other side's
    turn.
    """
    # The reward function sees each rollout, so it notes here what is compared.
    rollout = {}
    size = settings.group_size

    def reward(
        completions: list[str], answer: list[str], completion_ids: list[list[int]], **_: object
    ) -> list[float]:
        values = [correctness_reward(*pair) for pair in zip(completions, answer, strict=True)]
        groups = [values[i : i + size] for i in range(0, len(values), size)]
        rollout["tokens"] = sum(map(len, completion_ids))
        rollout["reward"] = mean(values)
        rollout["no_signal"] = mean(len(set(group)) == 1 for group in groups)
        rollout["golds"] = answer[::size]
        return values

    # The other side's seconds are not counted.
    class TakeTurns(TrainerCallback):
        def on_train_begin(self, *_: object, **__: object) -> None:
            self.start = now()

        def on_step_end(self, _: object, state: TrainerState, *__: object, **___: object) -> None:
            if state.global_step % (settings.epochs * settings.minibatches) == 0:
                seconds = [end - start for end, start in zip(now(), self.start, strict=True)]
                runs.append(dict(zip(("seconds", "cpu_seconds"), seconds, strict=True)) | rollout)
                other_side()
                self.start = now()

    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            work.fresh_policy(),
            work.train,
            GRPO,
            settings=settings,
            out=folder,
            use_cpu=work.policy.device.type == "cpu",
            reward_func=reward,
            logging_strategy="no",
        )
        trainer.remove_callback(ProgressLine)
        trainer.add_callback(TakeTurns())
        trainer.train()
