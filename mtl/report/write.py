"""Files appear whole or not at all."""

import contextlib
import os
from pathlib import Path

from mtl.errors import InputError


def write_file(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name in the same folder, then renames it.

    Args:
      path: the file; an older one is replaced, a missing folder is made.
      content: all of its bytes.

    Raises:
      InputError: the folder or the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}; free space or choose another --workdir"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # it is gone after the rename
            temporary.unlink()


def remove_file(path: Path) -> None:
    """Removes a file that would no longer be true; it may be absent.

    Args:
      path: the file.

    Raises:
      InputError: the file is there and cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot remove {path}: {error.strerror}; remove it by hand") from error
