"""Work in several processes. Two runs at once, on one core each, end sooner than one after the
other on both cores."""

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event

import torch

from rlvr_helpers.engine.error_notes import with_notes

# How long a worker can still take for its current item when it is told to stop.
SECONDS_TO_STOP = 30.0


def cores() -> int:
    """CPU cores that this process can use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(work: Callable, tasks: list, workers: int) -> Iterator[tuple[int, object]]:
    """Yields (number of the task, item) for all items of the iterators work(task), as they come
    from `workers` processes.

    `work` is a function of a module, since each process imports it. If the reader stops early, the
    workers stop after their current item. Raises RuntimeError with what the worker said if one
    fails or is killed.
    """
    # A fork of a process with torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    # One queue of tasks, with a None per worker at its end, and one of what workers send.
    waiting = context.Queue()
    news = context.Queue()
    stop = context.Event()
    workers = min(workers, len(tasks))
    for numbered in [*enumerate(tasks), *[None] * workers]:
        waiting.put(numbered)
    arguments = (work, waiting, news, stop)
    processes = [
        context.Process(target=_worker, args=arguments, daemon=True) for _ in range(workers)
    ]
    try:
        # Ctrl-C is for this process, which then stops the others.
        with _interrupts_held_back():
            for process in processes:
                process.start()
        yield from _items(news, processes, len(tasks))
    finally:
        stop.set()
        _end(processes, news)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """A Ctrl-C reaches this thread afterwards. It never reaches the processes that are started
    here, since they inherit the mask.

    Otherwise Ctrl-C would end them, with a traceback each, while they still import torch.
    """
    # Windows has no such mask.
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _worker(work: Callable, waiting: Queue, news: Queue, stop: Event) -> None:
    """Takes tasks until a None, and sends (kind, number, item). The kind is "item", and at last
    "end" or "error"."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Ctrl-C reaches all processes. The first one decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    for number, task in iter(waiting.get, None):
        if stop.is_set():
            return
        try:
            for item in work(task):
                news.put(("item", number, item))
                if stop.is_set():
                    return
        except Exception as error:
            news.put(("error", number, f"{type(error).__name__}: {with_notes(error)}"))
            return
        news.put(("end", number, None))


def _end_with_parent() -> None:
    """Ends this process when its parent ends for whatever reason. Then a pipe between them
    closes."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _items(news: Queue, processes: list[BaseProcess], tasks: int) -> Iterator[tuple[int, object]]:
    """What the workers send until all tasks have ended. Raises RuntimeError if a worker fails."""
    ended = 0
    while ended < tasks:
        try:
            kind, number, item = news.get(timeout=1.0)
        except queue.Empty:
            # Nothing came for a second: has a worker died without a word?
            for process in processes:
                if process.exitcode:
                    raise RuntimeError(_reason(process.exitcode)) from None
            continue
        if kind == "error":
            raise RuntimeError(item)
        if kind == "item":
            yield number, item
        ended += kind == "end"


def _reason(exitcode: int) -> str:
    if exitcode == -getattr(signal, "SIGKILL", 0):
        return "a worker process was killed, perhaps for lack of memory: run again to continue"
    return (
        f"a worker process ended unexpectedly (exit code {exitcode}): see what it printed, then run"
        " again to continue"
    )


def _end(processes: list[BaseProcess], news: Queue) -> None:
    """Waits for the workers, or ends them. It reads what they still send, since a process ends only
    when its queue is read."""
    for process in processes:
        # Each gets its time to end by itself.
        waited = 0.0
        while process.pid and process.is_alive() and waited < SECONDS_TO_STOP:
            try:
                while True:
                    news.get_nowait()
            except queue.Empty:
                process.join(0.1)
                waited += 0.1
        if process.pid and process.is_alive():
            process.terminate()
