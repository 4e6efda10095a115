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


def checked(path: Path, file: RawFile | None = None) -> dict[str, Any]:
    """Describes a file that was read, for a data set's provenance.

    Args:
      path: the file.
      file: the published file, or None where its checksum is not known.

    Returns:
      `{"file", "sha256", "checksum"}`.
    """
    content = sha256(path)
    if file is None:
        return {"file": path.name, "sha256": content, "checksum": "none is known"}
    verdict = "published" if content == file.sha256 else "differs from the published file"
    return {"file": path.name, "sha256": content, "checksum": verdict}


def read_table(
    path: Path,
    types: Mapping[str, pa.DataType],
    delimiter: str = ",",
    optional: Sequence[str] = (),
) -> pa.Table:
    """Reads a table with a header into memory, with the types that its columns must have.

    Args:
      path: the file; `.gz` is decompressed on the fly.
      types: name and type of every column to read; others that the file has are passed over.
      delimiter: what stands between cells.
      optional: columns that may have empty cells, which become nulls.

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
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
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


class Piece(NamedTuple):
    """A run of whole lines of a raw file.

    Attributes:
      path: the file.
      part: the part of the set that the file holds, such as `train`.
      start: first byte.
      stop: byte after the last one.
    """

    path: Path
    part: str
    start: int
    stop: int


def cut(path: Path, part: str, size: int, header: bool) -> list[Piece]:
    """Cuts a file into pieces, without reading it.

    Args:
      path: the file, not compressed.
      part: the part of the set that it holds.
      size: bytes of a piece; it grows to the end of its last line.
      header: whether the first line is left out.

    Returns:
      The pieces, in order.

    Raises:
      InputError: the file cannot be read, or holds no rows.
    """
    pieces = []
    try:
        with path.open("rb") as lines:
            if header:
                lines.readline()
            start, end = lines.tell(), path.stat().st_size
            while start < end:
                lines.seek(min(start + size, end) - 1)
                lines.readline()
                pieces.append(Piece(path, part, start, lines.tell()))
                start = lines.tell()
    except OSError as error:
        raise damaged(path, error) from error
    if not pieces:
        raise InputError(f"{path}: has no rows; fetch it again")
    return pieces


def read_piece(
    piece: Piece, types: Mapping[str, pa.DataType], replaced: bytes = b"", replacement: bytes = b""
) -> pa.RecordBatch:
    """Reads the lines of a piece as comma-separated cells; quotes have no meaning.

    Args:
      piece: which lines.
      types: name and type of every column, in file order.
      replaced: bytes that are replaced before the lines are read.
      replacement: what replaces each of them.

    Returns:
      The columns, without nulls.

    Raises:
      InputError: the file cannot be read, a line has a wrong number of cells, or a cell is empty or not of
        its type.
    """
    try:
        with piece.path.open("rb") as content:
            content.seek(piece.start)
            text = content.read(piece.stop - piece.start)
        table = pyarrow.csv.read_csv(
            pa.BufferReader(text.translate(bytes.maketrans(replaced, replacement)) if replaced else text),
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=len(text) + 1, column_names=list(types)
            ),
            parse_options=pyarrow.csv.ParseOptions(quote_char=False),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict(types), null_values=[]),
        )
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{piece.path}, rows after line {line_number(piece, 0) - 1}: cannot be read ({_line(error)}); "
            "the file is damaged or truncated, fetch it again"
        ) from error
    return table.combine_chunks().to_batches()[0]


def line_number(piece: Piece, row: int) -> int:
    """Returns the number, from 1, of the line of a file that holds a row of a piece; reads all before it."""
    lines = 0
    with piece.path.open("rb") as content:
        left = piece.start
        while left:
            block = content.read(min(left, 1 << 24))
            lines += block.count(b"\n")
            left -= len(block)
    return lines + row + 1


def refuse_line(piece: Piece, column: str, bad: np.ndarray, values: Any, expected: str) -> None:
    """Refuses the first row of a piece where `bad [N]` is true, by an `InputError` that names its line."""
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"{piece.path}, line {line_number(piece, row)}, column {column!r}: is {values[row]!s}, "
            f"expected {expected}"
        )


def matrix(values: np.ndarray) -> pa.FixedSizeListArray:
    """Wraps `values [N, k]`, k >= 1, as an Arrow column of N lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def hashes(strings: pa.Array) -> np.ndarray:
    """Returns the FNV-1a hash of every string, uint64 [N]; the same on every machine."""
    offsets = np.frombuffer(strings.buffers()[1], np.int32)[
        strings.offset : strings.offset + len(strings) + 1
    ]
    data = np.frombuffer(strings.buffers()[2] or b"", np.uint8)
    lengths = np.diff(offsets)
    found = np.full(len(strings), 0xCBF29CE484222325, np.uint64)
    for place in range(int(lengths.max(initial=0))):
        longer = np.flatnonzero(lengths > place)
        found[longer] = (found[longer] ^ data[offsets[longer] + place]) * np.uint64(0x100000001B3)
    return found
