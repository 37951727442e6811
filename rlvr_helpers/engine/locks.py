"""Locks between processes. The operating system frees a lock when its owner ends, for whatever
reason."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

# How long we wait for others who save a small file.
SECONDS_TO_SAVE = 20.0
# How long we wait for the workers of a command that was killed.
SECONDS_TO_END = 2.0


def while_saving(file: Path) -> FileLock:
    """For reading, changing and writing a small file. Entering it raises TimeoutError, which is an
    OSError."""
    # The lock is a file beside it.
    file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(
        file.with_name(f".{file.name}.lock"), timeout=SECONDS_TO_SAVE, poll_interval=0.01
    )


@contextmanager
def one_owner(folder: Path | None) -> Iterator[None]:
    """Holds a folder of runs while its owner writes there. None stands for no folder.

    Raises ValueError if another process holds it, and OSError that says what to do if it cannot be
    written.
    """
    if folder is None:
        yield
        return
    # Take the lock, or say why not.
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=SECONDS_TO_END)
    except Timeout:
        raise ValueError(
            f"another command is at work in {folder.name!r}: wait until it ends, or choose another"
            " folder for `out`"
        ) from None
    except OSError as error:
        raise type(error)(
            error.errno,
            f"the folder {folder.name!r} cannot be written ({error.strerror}): choose another"
            " folder for `out`. In a course that you cannot write to, set the environment variable"
            " RLVR_MY_WORK to a folder that you can write to, copy the notebooks there with"
            " copy_notebooks() of lesson 00, and open this one there",
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def one_process(folder: Path) -> Iterator[None]:
    """Holds a folder of checkpoints while this process trains there. The process can hold it
    several times: in a notebook a stopped run can still exist when its cell runs again.

    Raises ValueError if another process holds it.
    """
    # Not in the folder, which holds checkpoints and nothing else. Each user has own locks.
    name = hashlib.sha256(f"{Path.home()} {folder.resolve()}".encode()).hexdigest()[:16]
    lock = FileLock(
        Path(tempfile.gettempdir()) / f"rlvr_helpers-{name}.lock",
        thread_local=False,
        is_singleton=True,
    )
    try:
        lock.acquire(timeout=SECONDS_TO_END)
    except Timeout:
        raise ValueError(
            f"another process trains in the folder {folder.name!r}: wait until it ends, or choose"
            " another checkpoint_dir"
        ) from None
    try:
        yield
    finally:
        lock.release()
