"""Ctrl-C, or an interrupt of the kernel, while a model trains: the step under way is finished, so
that nothing is lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def finishing_steps(said: Callable[[], None] = lambda: None) -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether an interrupt came; it is for the loop over steps to end
    then.

    The first interrupt calls `said` and raises nothing, a second one raises KeyboardInterrupt at
    once. Outside the main thread, where Python hears no interrupts, nothing changes.
    """
    came = []

    def heard(*_) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(True)
        said()

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, heard)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)
