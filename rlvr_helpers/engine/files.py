"""Files that are written whole or not at all."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO


def remove_dead_parts(folder: Path) -> None:
    """Removes the half-written files of `write_whole` whose process has ended."""
    for part in folder.glob(".*.part*"):
        pid = part.name.rpartition(".part")[2]
        if pid.isdigit() and not is_alive(int(pid)):
            # Windows does not remove a file that is still being written.
            with suppress(OSError):
                part.unlink()


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs. False on Windows, which has no signal that only
    asks."""
    if os.name == "nt":
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    # It runs, but belongs to another user.
    except PermissionError:
        pass
    return True


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls write(file) on a temporary file beside `path`, then puts it in place. Readers see the
    old file or the new one.

    Raises OSError that says what to do if the disk is full or the folder cannot be written. The old
    file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part{os.getpid()}")
    try:
        # Write and flush to the disk before the name changes.
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # torch.save turns a full disk into a RuntimeError.
        if not isinstance(error, (OSError, RuntimeError)):
            raise
        raise OSError(
            f"{path.name} could not be written ({error}). Free some disk space or choose another"
            " folder, then run again. What was saved before is untouched."
        ) from error
