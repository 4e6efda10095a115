"""What a preparation that is stopped leaves, so that the next call goes on from there.

<folder>.incomplete/            becomes <folder> once it is complete
<folder>.incomplete/lock        held by the process that is at it; the system lets go of it when that ends
<folder>.incomplete/<any>.npz   arrays that are kept meanwhile, each file whole or not there
"""

import contextlib
import fcntl
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mtl.progress import Progress

LOCK = "lock"

Arrays = Mapping[str, np.ndarray]


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[Path | None]:
    """Gives this process alone the folder in which a set is prepared; waits while another one has it.

    Args:
      folder: where the set goes.

    Yields:
      `<folder>.incomplete`, with what earlier calls have left in it; None once `folder` exists.

    Raises:
      OSError: it cannot be made or locked.
    """
    incomplete = folder.with_name(f"{folder.name}.incomplete")
    while not folder.exists():
        incomplete.mkdir(parents=True, exist_ok=True)
        try:
            lock = (incomplete / LOCK).open("w")
        except FileNotFoundError:  # the process that had it has just finished
            continue
        with lock:
            _wait(lock.fileno(), folder.name)
            if _is(lock.fileno(), incomplete / LOCK):
                yield incomplete
                return
    yield None


def keep(path: Path, facts: Mapping[str, Any], arrays: Arrays) -> None:
    """Writes arrays and facts; the file is replaced as a whole.

    Args:
      path: `….npz`.
      facts: JSON-serialisable.
      arrays: by name.
    """
    new = path.with_suffix(".new")
    members: Any = {f"array/{name}": array for name, array in arrays.items()}
    with new.open("wb") as file:
        np.savez(file, facts=np.array(json.dumps(facts)), **members)
    new.replace(path)


def kept(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Reads what `keep` has written.

    Args:
      path: the file.

    Returns:
      Facts and arrays; None where there is no file, or it is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            arrays = {k.removeprefix("array/"): found[k] for k in found.files if k != "facts"}
            return json.loads(str(found["facts"])), arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def once(path: Path, make: Callable[[], Arrays]) -> Arrays:
    """Returns arrays that are made once and kept.

    Args:
      path: where they are kept.
      make: makes them.

    Returns:
      Those of the file, or new ones where there is none.
    """
    found = kept(path)
    if found is not None:
        return found[1]
    arrays = make()
    keep(path, {}, arrays)
    return arrays


def tell(text: str) -> None:
    """Prints a line about a preparation."""
    with Progress(0, "", quiet=True) as progress:
        progress.note(text)


def _wait(lock: int, name: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        tell(f"{name}: waits for another process, which prepares it")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _is(opened: int, path: Path) -> bool:
    """Whether an open file still has a name: who had the lock before may have moved it."""
    try:
        return os.path.samestat(os.fstat(opened), path.stat())
    except FileNotFoundError:
        return False
