"""The report's files appear whole or not at all, and a failure to write is one clear line."""

from pathlib import Path

from mtl.errors import InputError
from mtl.files import write_atomic


def write_file(path: Path, content: bytes) -> None:
    """Writes a file atomically.

    Args:
      path: the file; an older one is replaced, a missing folder is made.
      content: all of its bytes.

    Raises:
      InputError: the folder or the file cannot be written.
    """
    try:
        write_atomic(path, content)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}; free space or choose another --workdir"
        ) from error


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
