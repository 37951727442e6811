"""Files that are written whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path


def remove_dead_parts(folder: Path) -> None:
    """Removes the half-written files of `write_whole` whose process has ended."""
    for part in folder.glob(".*.part*"):
        pid = part.name.rpartition(".part")[2]
        if pid.isdigit() and not is_alive(int(pid)):
            # on Windows a file that is still being written cannot be removed
            with suppress(OSError):
                part.unlink()


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs. Windows has no signal that only asks: False."""
    if os.name == "nt":
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True


def write_whole(path: Path, write) -> None:
    """Calls write(file) on a temporary file beside `path`, then puts it in place: readers see the
    old file or the new.

    Raises OSError that says what to do when the disk is full or the folder cannot be written; the
    old file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # torch.save turns a full disk into a RuntimeError
        if not isinstance(error, (OSError, RuntimeError)):
            raise
        raise OSError(
            f"{path.name} could not be written ({error}). Free some disk space or choose another"
            " folder, then run again: what was saved before is untouched."
        ) from error
