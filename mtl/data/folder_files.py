"""Tables of a folder, batch by batch: CSV, Parquet and Arrow files as columns of numbers and of hashes."""

import fnmatch
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from mtl.data.hashing import MISSING, stable_hashes
from mtl.errors import InputError

TEXT = (".csv", ".csv.gz")
ARROW = (".arrow", ".feather", ".ipc")
ENDINGS = (*TEXT, ".parquet", *ARROW)
BATCH_ROWS = 65_536
BLOCK_BYTES = 8 << 20
NOT_SET = ("", "NA", "N/A", "NULL", "null", "NaN", "nan")
"""Cells of text files that count as missing."""

TRUTH = {"false": 0.0, "true": 1.0}

UNREADABLE = (OSError, EOFError, zlib.error, pa.ArrowException)


class Batch(NamedTuple):
    """Neighbouring rows of a file.

    Attributes:
      file: the file.
      first: number of the first row in it, from 0, a header not counted.
      columns: the columns that were asked for.
      share: share of the file's bytes or rows that has been read by now.
    """

    file: Path
    first: int
    columns: pa.RecordBatch
    share: float

    def refuse(self, column: str, row: int, value: object, expected: str) -> InputError:
        """Returns the error for a cell."""
        return InputError(
            f"{self.file}, row {self.first + row + 1}, column {column!r}: is {value!s}, expected {expected}"
        )


def table_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Finds the tables of a folder.

    Args:
      folder: where to look, sub-folders included.
      patterns: of their paths below the folder; all tables if there are none.

    Returns:
      The files, sorted by path.

    Raises:
      InputError: there is no such file in it.
    """
    tables = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name.endswith(ENDINGS)]
    found = [p for p in tables if not patterns or any(matches(p, folder, pattern) for pattern in patterns)]
    if not found:
        wanted = f"that is named {' or '.join(patterns)}" if patterns else f"of {', '.join(ENDINGS)}"
        raise InputError(f"path {folder} holds no file {wanted}")
    return found


def matches(file: Path, folder: Path, pattern: str) -> bool:
    """Whether a file's path below a folder has a pattern, or lies in a sub-folder that is named."""
    below = file.relative_to(folder).as_posix()
    return fnmatch.fnmatchcase(below, pattern) or below.startswith(pattern.rstrip("/") + "/")


def read_batches(file: Path, columns: Sequence[str], delimiter: str) -> Iterator[Batch]:
    """Reads columns of a table; memory holds a batch, of Parquet what a batch takes to decode.

    Args:
      file: the table.
      columns: what to read; other columns are passed over.
      delimiter: between the cells of text files, all of whose cells are read as text.

    Yields:
      The rows, in order.

    Raises:
      InputError: the file is damaged, or a column is missing.
    """
    first = 0
    try:
        for batch, share in _open(file, columns, delimiter):
            for start in range(0, batch.num_rows, BATCH_ROWS):
                part = batch.slice(start, BATCH_ROWS)
                yield Batch(file, first, part, share)
                first += part.num_rows
    except UNREADABLE as error:
        why = " ".join(str(error).split())
        raise InputError(
            f"{file}: cannot be read after row {first} ({why}); it is damaged or malformed"
        ) from error


def check_columns(file: Path, columns: Sequence[str], delimiter: str) -> None:
    """Refuses a file that lacks a column, or cannot be opened."""
    try:
        if file.name.endswith(TEXT):
            with pa.input_stream(str(file), compression="detect") as content:
                line = content.read(1 << 16).split(b"\n")[0]
            options = pyarrow.csv.ParseOptions(delimiter=delimiter)
            there = pyarrow.csv.read_csv(pa.BufferReader(line + b"\n"), parse_options=options).column_names
        elif file.name.endswith(ARROW):
            there = _arrow_reader(file).schema.names
        else:
            there = pq.read_schema(file).names
    except UNREADABLE as error:
        why = " ".join(str(error).split())
        raise InputError(f"{file}: cannot be read ({why}); it is empty, damaged or no such table") from error
    for column in columns:
        if column not in there:
            raise InputError(f"{file}: has no column {column!r}; its columns are {', '.join(there)}")


def numbers(batch: Batch, column: str) -> np.ndarray:
    """Reads a column as float64 `[N]`; NaN where a cell is missing.

    Raises:
      InputError: a cell is no number; the message names file, row and column.
    """
    values = _plain(batch.columns.column(column))
    kind = values.type
    if pa.types.is_null(kind):
        return np.full(len(values), np.nan)
    if _is_text(values):
        try:
            values = pc.cast(pc.utf8_trim_whitespace(values), pa.float64())
        except pa.ArrowInvalid:
            written = values.to_pylist()
            if all(v is None or v.strip().lower() in TRUTH for v in written):
                return np.array([np.nan if v is None else TRUTH[v.strip().lower()] for v in written])
            row, text = next((i, v) for i, v in enumerate(written) if not _is_number(v))
            raise batch.refuse(column, row, repr(text), "a number") from None
    elif pa.types.is_boolean(kind):
        values = pc.cast(values, pa.uint8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise _wrong_type(batch, column, kind, "numbers")
    values = pc.cast(values, pa.float64(), safe=False)
    return np.asarray(pc.fill_null(values, np.nan), np.float64)


def moments(batch: Batch, column: str) -> np.ndarray:
    """Reads a column of times as float64 `[N]` that rise with time: numbers, or dates as seconds.

    Raises:
      InputError: a cell is missing or no time.
    """
    values = _plain(batch.columns.column(column))
    written = next((v for v in values.to_pylist() if v is not None), "0") if _is_text(values) else "0"
    if not _is_number(written):
        try:
            values = pc.cast(values, pa.timestamp("us"))
        except pa.ArrowInvalid as error:
            why = " ".join(str(error).split())
            raise InputError(
                f"{batch.file}, rows after {batch.first}, column {column!r}: {why}; expected numbers, or "
                "dates such as 2024-05-01 12:30:00"
            ) from None
    if pa.types.is_date(values.type):
        values = pc.cast(values, pa.timestamp("us"))
    if pa.types.is_timestamp(values.type):
        found = np.asarray(pc.cast(pc.cast(values, pa.timestamp("us"), safe=False), pa.int64()).fill_null(0))
        found = np.where(pc.is_valid(values).to_numpy(zero_copy_only=False), found / 1e6, np.nan)
    else:
        found = numbers(batch, column)
    if np.isnan(found).any():
        raise batch.refuse(column, int(np.argmax(np.isnan(found))), "missing", "a time")
    return found


def hashed(batch: Batch, column: str) -> np.ndarray:
    """Hashes a column of single values: uint64 `[N]`, `MISSING` where a cell is missing.

    Raises:
      InputError: its values are neither text nor integers.
    """
    values = _plain(batch.columns.column(column))
    if pa.types.is_null(values.type):
        return np.full(len(values), MISSING)
    try:
        return stable_hashes(values)
    except TypeError:
        raise _wrong_type(batch, column, values.type, "text or integers") from None


def hashed_lists(batch: Batch, column: str, length: int, separator: str) -> np.ndarray:
    """Hashes a column of several values: uint64 `[N, L]`, the first L of each cell, `MISSING` after them.

    Args:
      batch: the rows.
      column: lists, or text.
      length: L.
      separator: what stands between the values where cells are text.

    Raises:
      InputError: its values are neither text nor lists of text or integers.
    """
    values = _plain(batch.columns.column(column))
    found = np.full((len(values), length), MISSING)
    if pa.types.is_null(values.type):
        return found
    if _is_text(values):
        values = pc.split_pattern(values, separator)
    kind = values.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise _wrong_type(batch, column, kind, f"lists, or text with {separator!r} between values")
    sizes = np.asarray(pc.fill_null(pc.list_value_length(values), 0), np.int64)
    inner = pc.list_flatten(values)
    if _is_text(inner):
        # Cells of text without a value, and what stands between two separators.
        inner = pc.if_else(pc.equal(inner, ""), pa.scalar(None, inner.type), inner)
    try:
        flat = np.full(len(inner), MISSING) if pa.types.is_null(inner.type) else stable_hashes(_plain(inner))
    except TypeError:
        raise _wrong_type(batch, column, kind, "lists of text or integers") from None
    row = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(len(flat)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = place < length
    found[row[kept], place[kept]] = flat[kept]
    return found


def texts(batch: Batch, column: str) -> list[str | None]:
    """Reads a column of names, such as those of splits."""
    values = _plain(batch.columns.column(column))
    return pc.cast(values, pa.string()).to_pylist()


def _open(file: Path, columns: Sequence[str], delimiter: str) -> Iterator[tuple[pa.RecordBatch, float]]:
    """Record batches with the share of the file that is read by then."""
    if file.name.endswith(TEXT):
        size = max(file.stat().st_size, 1)
        with file.open("rb") as raw:
            content: Any = raw
            if file.name.endswith(".gz"):
                content = pa.CompressedInputStream(pa.PythonFile(raw, "r"), "gzip")
            reader = pyarrow.csv.open_csv(
                content,
                # One thread, so that messages of malformed rows have their number.
                read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
                parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(columns, pa.string()),
                    include_columns=list(columns),
                    null_values=list(NOT_SET),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
            for batch in reader:
                yield batch, min(raw.tell() / size, 1.0)
    elif file.name.endswith(ARROW):
        opened = _arrow_reader(file)
        count = opened.num_record_batches
        for i in range(count):
            yield opened.get_batch(i).select(list(columns)), (i + 1) / count
    else:
        with pq.ParquetFile(file) as table:
            rows, done = max(table.metadata.num_rows, 1), 0
            for batch in table.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False):
                done += batch.num_rows
                yield batch.select(list(columns)), done / rows


def _arrow_reader(file: Path) -> Any:
    return pa.ipc.open_file(pa.memory_map(str(file)))


def _plain(values: pa.Array) -> pa.Array:
    """Without a dictionary, and text with 32-bit offsets."""
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    if pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        values = pc.cast(values, pa.string())
    return values


def _is_text(values: pa.Array) -> bool:
    return pa.types.is_string(values.type)


def _is_number(text: str | None) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True


def _wrong_type(batch: Batch, column: str, kind: pa.DataType, expected: str) -> InputError:
    return InputError(f"{batch.file}, column {column!r}: holds {kind}, expected {expected}")
