"""A clock for the parts of a step."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Adds up the seconds spent in each part of a step."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self.cuda = device.type == "cuda"

    @contextmanager
    def time(self, part: str) -> Iterator[None]:
        started = self._now()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + self._now() - started

    def _now(self) -> float:
        # A GPU works on after its kernels are launched.
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()
