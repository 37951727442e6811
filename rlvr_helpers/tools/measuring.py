"""What the benchmarks and the GPU session share: seconds, memory, the machine, and `generate`."""

import copy
import importlib.util
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedModel

from rlvr_helpers.models import Policy, format_prompt
from rlvr_helpers.problems import Problem
from rlvr_helpers.sampling import encode_prompts
from rlvr_helpers.study.runs import cpu_name
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import problems_of_step


def now() -> tuple[float, float]:
    """Wall clock and CPU seconds of this process, after a GPU has done all that it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def timed(function: Callable, *arguments: object) -> tuple[dict, object]:
    """Seconds and CPU seconds of a call, and what it returned."""
    # Both ends wait for the GPU.
    start = now()
    result = function(*arguments)
    end = now()
    return {"seconds": end[0] - start[0], "cpu_seconds": end[1] - start[1]}, result


def peak_memory(device: torch.device) -> float:
    """The most MB so far, of the GPU's memory if the model is on one, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    # ru_maxrss would begin with that of the process that started this one.
    if sys.platform == "linux":
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 2**10
    # Windows has no such module.
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def header(command: str) -> dict:
    """What was measured where: date, command, versions, processor, GPU, and how busy the machine
    is."""
    # Only what is installed.
    packages = [name for name in ("torch", "transformers", "trl") if importlib.util.find_spec(name)]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "command": command,
        "versions": (
            {"python": platform.python_version()} | {name: version(name) for name in packages}
        ),
        "cpu": cpu_name(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cores, threads, load at the start": [
            os.cpu_count(),
            torch.get_num_threads(),
            round(os.getloadavg()[0], 1),
        ],
    }


@torch.no_grad()
def generated(
    policy: Policy,
    prompts: list[str],
    group_size: int,
    max_tokens: int,
    seed: int,
    model: PreTrainedModel | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`generate` of transformers, sampling from the whole distribution. Returns prompt ids and mask
    [B, Tp], and completion ids [B, T].

    model: instead of the policy's own
    """
    torch.manual_seed(seed)
    # A row for each completion: `generate` knows no groups.
    ids, mask = encode_prompts(policy, [prompt for prompt in prompts for _ in range(group_size)])
    # The whole distribution, as `sample_groups` does.
    config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        max_new_tokens=max_tokens,
        eos_token_id=list(policy.end_ids),
        pad_token_id=policy.pad_id,
    )
    model = model or policy.model
    out = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    return ids, mask, out[:, ids.shape[1] :]


@dataclass
class StepWork:
    """What is measured: a policy, its problems, the sizes of a step (`settings`), and how often."""

    policy: Policy
    train: list[Problem]
    test: list[Problem]
    settings: TrainSettings
    repeats: int

    def problems(self, turn: int) -> list[Problem]:
        """Those of a turn, from 0."""
        return problems_of_step(self.train, turn + 1, self.settings)

    def prompts(self, turn: int) -> list[str]:
        """The prompts of a turn's problems."""
        return [format_prompt(self.policy, problem.question) for problem in self.problems(turn)]

    def fresh_policy(self) -> Policy:
        """A copy of the policy, to be trained."""
        return replace(self.policy, model=copy.deepcopy(self.policy.model))
