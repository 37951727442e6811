"""Undoing whatever a checked function does to the process."""

import builtins
import contextlib
import gc
import io
import locale
import logging
import math
import os
import random
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

import numpy as np
import torch

# How many characters a checked function can print. The rest is left out.
PRINTED = 2000

# Modules in which a function can replace something.
MODULES = (builtins, math, os, random, sys, np, torch, torch.nn.functional)


def _folder() -> str | None:
    try:
        return os.getcwd()
    # It was removed.
    except FileNotFoundError:
        return None


def _set_environment(variables: dict[str, str]) -> None:
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)


def _set_logging(state: tuple[int, int, list]) -> None:
    logging.root.setLevel(state[0])
    logging.disable(state[1])
    logging.root.handlers[:] = state[2]


# What the whole process shares, as (read it, put it back). Signal handlers, gradient mode, default
# device and the contexts of decimal belong to a thread, and a checked function has a thread of its
# own.
SHARED = (
    # This is the first, since with a low limit nothing else works.
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (sys.getswitchinterval, sys.setswitchinterval),
    (_folder, lambda folder: folder and os.chdir(folder)),
    (lambda: dict(os.environ), _set_environment),
    (lambda: list(sys.path), lambda folders: sys.path.__setitem__(slice(None), folders)),
    (lambda: locale.setlocale(locale.LC_ALL), lambda name: locale.setlocale(locale.LC_ALL, name)),
    (
        lambda: (logging.root.level, logging.root.manager.disable, list(logging.root.handlers)),
        _set_logging,
    ),
    (gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    (gc.get_threshold, lambda counts: gc.set_threshold(*counts)),
    (random.getstate, random.setstate),
    (np.random.get_state, np.random.set_state),
    (np.get_printoptions, lambda options: np.set_printoptions(**options)),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    (
        lambda: dict(vars(torch._tensor_str.PRINT_OPTS)),
        lambda options: torch.set_printoptions(**options),
    ),
)


@contextlib.contextmanager
def untouched_state() -> Iterator[None]:
    """What the process shares is put back at the end. What is printed is passed on up to a
    limit."""
    # Remember the modules' names and all shared states.
    names = [(module, dict(vars(module))) for module in MODULES]
    states = [(put_back, read()) for read, put_back in SHARED]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    try:
        with (
            torch.random.fork_rng(devices),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(ShortOutput(sys.stdout)),
            contextlib.redirect_stderr(ShortOutput(sys.stderr)),
        ):
            yield
    # Put back what differs.
    finally:
        for module, before in names:
            for name, value in before.items():
                if vars(module).get(name) is not value:
                    setattr(module, name, value)
        for put_back, state in states:
            put_back(state)


class ShortOutput(io.TextIOBase):
    """Passes on what is printed, up to a limit. An endless print would drown the notebook."""

    def __init__(self, stream: TextIO, limit: int = PRINTED) -> None:
        self.stream = stream
        self.left = limit

    def write(self, text: str) -> int:
        if self.left > 0:
            self.stream.write(text[: self.left])
            self.left -= len(text)
            if self.left <= 0:
                self.stream.write("\n(what your function printed after this is left out)\n")
        return len(text)

    def flush(self) -> None:
        self.stream.flush()
