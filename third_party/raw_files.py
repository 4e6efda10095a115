"""Raw files of public data sets: where they lie, whether they are the published ones, how tables are read."""

import gzip
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from mtl.errors import InputError

UNREADABLE = (OSError, EOFError, zlib.error)
"""What a damaged or truncated file raises while it is read."""


class RawFile(NamedTuple):
    """One published file.

    Attributes:
      name: file name without `.gz`.
      rows: number of rows, the header not counted.
      sha256: checksum of the decompressed content, which does not depend on the gzip wrapping.
    """

    name: str
    rows: int
    sha256: str


def locate(
    folder: Path, places: Sequence[str], files: Mapping[str, RawFile], homepage: str
) -> dict[str, Path]:
    """Looks for files that belong together, gzipped or plain.

    Args:
      folder: where to look.
      places: sub-folders to look into, before the folder itself.
      files: what to look for.
      homepage: where the files can be had, for the message.

    Returns:
      The path of every file; empty where none is there.

    Raises:
      InputError: some of the files are there, but not all.
    """
    for place in (*(folder / name for name in places), folder):
        found = {
            key: path
            for key, file in files.items()
            for path in (place / file.name, place / f"{file.name}.gz")
            if path.is_file()
        }
        missing = [file.name for key, file in files.items() if key not in found]
        if found and missing:
            raise InputError(
                f"{place}: {missing[0]} (or {missing[0]}.gz) is missing beside "
                f"{next(iter(found.values())).name}; get it from {homepage}"
            )
        if found:
            return found
    return {}


def not_found(name: str, files: Sequence[str], place: str, homepage: str) -> InputError:
    """Returns the error for raw files that are nowhere: which, from where, and where to put them."""
    return InputError(
        f"{name}: no raw files; get {', '.join(files)} from {homepage}, put them into {place}/ of a folder "
        "and set manual_dir (--manual_dir or MTL_MANUAL_DIR) to that folder"
    )


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's content; a `.gz` is decompressed first.

    Raises:
      InputError: the file is damaged or truncated.
    """
    opener: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except UNREADABLE as error:
        raise damaged(path, error) from error


def checked(path: Path, rows: int, file: RawFile | None = None) -> dict[str, Any]:
    """Describes a file that was read, for a data set's provenance.

    Args:
      path: the file.
      rows: the number of rows found.
      file: the published file, or None where its checksum is not known.

    Returns:
      `{"file", "rows", "sha256", "checksum"}`.
    """
    content = sha256(path)
    if file is None:
        verdict = "no checksum is known"
    else:
        verdict = "published" if content == file.sha256 else "differs from the published file"
    return {"file": path.name, "rows": rows, "sha256": content, "checksum": verdict}


def read_table(
    path: Path,
    types: Mapping[str, pa.DataType],
    delimiter: str = ",",
    optional: Sequence[str] = (),
    newlines: bool = False,
) -> pa.Table:
    """Reads a table with a header into memory, with the types that its columns must have.

    Args:
      path: the file; `.gz` is decompressed on the fly.
      types: name and type of every column to read; others that the file has are passed over.
      delimiter: what stands between cells.
      optional: columns that may have empty cells, which become nulls.
      newlines: whether quoted cells may hold line ends.

    Returns:
      The columns of `types`, in that order, without nulls but in the optional ones.

    Raises:
      InputError: the file is empty, damaged or truncated, a column is missing, or a cell is empty or not of
        its type; the message names file, and row or column.
    """
    try:
        table = pyarrow.csv.read_csv(
            pa.input_stream(str(path), compression="detect"),
            # One thread, so that messages of malformed rows have their number.
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=newlines),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict(types),
                include_columns=list(types),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except KeyError as error:
        raise InputError(f"{path}: {_line(error)}; expected the columns {', '.join(types)}") from error
    except (*UNREADABLE, pa.ArrowInvalid) as error:
        raise damaged(path, error) from error
    for name in types:
        if name not in optional and table[name].null_count:
            line = int(np.argmax(pc.is_null(table[name]).to_numpy())) + 2
            raise InputError(f"{path}, line {line}, column {name!r}: is empty, expected {types[name]}")
    if table.num_rows == 0:
        raise InputError(f"{path}: has no rows; fetch it again")
    return table


def refuse(path: Path, column: str, bad: np.ndarray, values: np.ndarray, expected: str) -> None:
    """Refuses the first row where `bad [N]` is true, by an `InputError`; line 1 of a file is its header."""
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"{path}, line {row + 2}, column {column!r}: is {values[row]!s}, expected {expected}"
        )


def damaged(path: Path, error: Exception) -> InputError:
    """Returns the error for a file that cannot be read."""
    return InputError(f"{path}: cannot be read ({_line(error)}); it is damaged or truncated, fetch it again")


def _line(error: Exception) -> str:
    return " ".join(str(error.args[0] if isinstance(error, KeyError) else error).split())
