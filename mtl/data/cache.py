"""The columnar cache: a table that is prepared once, checksummed, and mapped into memory afterwards.

    <data_dir>/<name>/<version>/columns.arrow    Arrow IPC, uncompressed
    <data_dir>/<name>/<version>/meta.json        {"sha256": of columns.arrow, "facts": {...}}

A folder appears under its name only when it is complete.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from mtl.errors import InputError

COLUMNS_FILE = "columns.arrow"
META_FILE = "meta.json"

Facts = dict[str, Any]


def data_folder(data_dir: str | os.PathLike[str] | None) -> Path:
    """Returns where prepared sets live: the argument, else `MTL_DATA_DIR`, else `~/.cache/mtl`."""
    return Path(data_dir or os.environ.get("MTL_DATA_DIR") or "~/.cache/mtl").expanduser()


def manual_folder(manual_dir: str | os.PathLike[str] | None) -> Path | None:
    """Returns where raw files lie: the argument, else `MTL_MANUAL_DIR`, else None.

    Raises:
      InputError: the folder does not exist.
    """
    given = manual_dir or os.environ.get("MTL_MANUAL_DIR")
    if not given:
        return None
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise InputError(f"manual_dir {folder} is not a folder; expected the one with raw files")
    return folder


def cached(folder: Path, build: Callable[[Path], tuple[pa.Table, Facts]]) -> tuple[pa.Table, Facts]:
    """Reads a prepared table; prepares it first where it does not exist.

    Args:
      folder: `<data_dir>/<name>/<version>`.
      build: makes the table and its facts (JSON); gets a folder that it may use and leave things in.

    Returns:
      The table, mapped into memory, and its facts.

    Raises:
      InputError: the folder cannot be written, or what lies there is damaged.
    """
    if not folder.exists():
        _write(folder, build)
    return _read(folder)


def _write(folder: Path, build: Callable[[Path], tuple[pa.Table, Facts]]) -> None:
    incomplete = folder.with_name(f"{folder.name}.incomplete-{os.getpid()}")
    try:
        incomplete.mkdir(parents=True)
        table, facts = build(incomplete)
        columns = incomplete / COLUMNS_FILE
        with pa.OSFile(str(columns), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        meta = {"sha256": _sha256(columns), "facts": facts}
        (incomplete / META_FILE).write_text(json.dumps(meta, indent=2, sort_keys=True) + "\n")
        # Another process may have prepared the same set meanwhile: its copy is as good as ours.
        if not folder.exists():
            incomplete.replace(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror or error}); set data_dir (or "
            "MTL_DATA_DIR) to a folder with room that you may write to"
        ) from error
    finally:
        shutil.rmtree(incomplete, ignore_errors=True)


def _read(folder: Path) -> tuple[pa.Table, Facts]:
    columns = folder / COLUMNS_FILE
    try:
        meta = json.loads((folder / META_FILE).read_text())
        expected, facts = meta["sha256"], meta["facts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder / META_FILE, error) from error
    try:
        found = _sha256(columns)
        if found != expected:
            raise _damaged(columns, f"sha256 {found[:12]}…, expected {expected[:12]}…")
        return pa.ipc.open_file(pa.memory_map(str(columns))).read_all(), facts
    except (OSError, pa.ArrowInvalid) as error:
        raise _damaged(columns, error) from error


def _damaged(path: Path, reason: object) -> InputError:
    why = " ".join(str(reason).split())
    return InputError(f"{path}: is damaged ({why}); delete the folder {path.parent} and run again")


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
