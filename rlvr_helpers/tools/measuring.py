"""What both benchmarks and the GPU session measure with: seconds, memory, the machine, and
`generate`."""

import importlib.util
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import GenerationConfig

from rlvr_helpers.models import Policy
from rlvr_helpers.sampling import encode_prompts
from rlvr_helpers.study.runs import cpu_name


def now() -> tuple[float, float]:
    """Wall clock and CPU seconds of this process, once a GPU has done all that it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def timed(function, *arguments) -> tuple[dict, object]:
    """Seconds and CPU seconds of a call, and what it returned."""
    start = now()
    result = function(*arguments)
    end = now()
    return {"seconds": end[0] - start[0], "cpu_seconds": end[1] - start[1]}, result


def peak_memory(device: torch.device) -> float:
    """MB at most so far: of the GPU's memory where the model is on one, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    # ru_maxrss would begin with that of the process that started this one.
    if sys.platform == "linux":
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 2**10
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def header(command: str) -> dict:
    """What was measured where: date, command, versions, processor, GPU, and how busy the machine
    is."""
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
    policy: Policy, prompts: list[str], group_size: int, max_tokens: int, seed: int, model=None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`generate` of transformers, from the whole distribution: prompt ids and mask [B, Tp],
    completion ids [B, T]. Another model can take the place of the policy's own."""
    torch.manual_seed(seed)
    ids, mask = encode_prompts(policy, [prompt for prompt in prompts for _ in range(group_size)])
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
