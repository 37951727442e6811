"""Ctrl-C or an interrupt of the kernel while a model trains. The current step is finished, so that
nothing is lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def finishing_steps(said: Callable[[], None] = lambda: None) -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether an interrupt came. The loop over steps should end then.

    The first interrupt calls `said` and raises nothing. A second one raises KeyboardInterrupt at
    once. Outside the main thread Python hears no interrupts, and nothing changes.
    """
    came = []

    def heard(*_: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(True)
        said()

    # Only the main thread can listen.
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    # Listen, and give the signal back at the end.
    before = signal.signal(signal.SIGINT, heard)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)
