"""Block-columnar shards: a split of any size as Arrow files of record batches, read block by block.

    train.000000.arrow, train.000001.arrow, …    Arrow IPC files; a record batch is a block of R rows

A column of a block is a fixed-size list per row, so that `ids [R, C]`, `numeric [R, F]`, `labels [R, T]` and
the optional `mask`, `weights` and `truth` are matrices without a copy. Every block of a split has R rows but
the last. A file is mapped while blocks are copied out of it and unmapped then: what was read does not stay
resident.
"""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mtl.errors import InputError

ROWS_PER_BLOCK = 16_384
BLOCKS_PER_FILE = 64
FILE_MAGIC_BYTES = 8
"""What stands before the first message of an Arrow IPC file, which goes on as a stream does."""

DTYPES = {
    **{"ids": "int32", "numeric": "float32", "labels": "float32"},
    **{"mask": "bool", "weights": "float32", "truth": "float32"},
}
"""Column groups of a block, in the order in which its checksum reads them, and their types."""

Columns = dict[str, np.ndarray]


class ShardFile(NamedTuple):
    """One file of a split.

    Attributes:
      name: in the split's folder.
      size: bytes.
      rows: rows of all its blocks.
      checksums: CRC-32 of every block's matrices.
    """

    name: str
    size: int
    rows: int
    checksums: tuple[int, ...]


class Blocks(NamedTuple):
    """A split as blocks on disk.

    Attributes:
      folder: where the files lie.
      files: in order.
      rows_per_block: R.
      widths: column groups and their widths, such as `(("ids", 2), ("numeric", 8), ("labels", 2))`.
    """

    folder: Path
    files: tuple[ShardFile, ...]
    rows_per_block: int
    widths: tuple[tuple[str, int], ...]

    @property
    def rows(self) -> int:
        """Rows N of the split."""
        return sum(file.rows for file in self.files)

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return -(-self.rows // self.rows_per_block)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in memory."""
        return sum(width * np.dtype(DTYPES[group]).itemsize for group, width in self.widths)

    def empty(self, *shape: int) -> Columns:
        """Arrays `[*shape, width]` for rows of this split, not filled."""
        return {group: np.empty((*shape, width), DTYPES[group]) for group, width in self.widths}


class BlockWriter:
    """Writes a split from chunks of rows of any size; memory holds one block.

    Attributes:
      widths: column groups and their widths.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        widths: Sequence[tuple[str, int]],
        rows_per_block: int = ROWS_PER_BLOCK,
        blocks_per_file: int = BLOCKS_PER_FILE,
    ):
        """Starts with no row.

        Args:
          folder: where the files go; a folder that is renamed once it is complete.
          split: the files' first name.
          widths: column groups and their widths.
          rows_per_block: R.
          blocks_per_file: most blocks in a file.
        """
        self._folder, self._split = folder, split
        self.widths = tuple((group, width) for group, width in widths)
        self._most = blocks_per_file
        self._files: list[ShardFile] = []
        self._block = Blocks(folder, (), rows_per_block, self.widths).empty(rows_per_block)
        self._filled = 0
        self._size = rows_per_block
        self._writer: Any = None
        self._checksums: list[int] = []
        self._rows = 0
        # A list of no numbers is a column that Arrow cannot cut: groups of width 0 are left out.
        self._stored = [(group, width) for group, width in self.widths if width]
        self._schema = pa.schema(
            [(group, pa.list_(_stored_type(group), width)) for group, width in self._stored]
        )

    def add(self, columns: Columns) -> None:
        """Appends rows: for every group `[n, width]`."""
        rows = len(columns["labels"])
        start = 0
        while start < rows:
            take = min(rows - start, self._size - self._filled)
            for group, _ in self.widths:
                self._block[group][self._filled : self._filled + take] = columns[group][start : start + take]
            self._filled += take
            start += take
            if self._filled == self._size:
                self._write_block()

    def mark(self) -> tuple[dict[str, Any], Columns]:
        """What `resume` needs to know of the rows so far: facts (JSON), and those of the unfinished block."""
        facts = {
            "widths": self.widths,
            "files": [file._asdict() for file in self._files],
            "checksums": self._checksums,
        }
        return facts, {group: self._block[group][: self._filled].copy() for group, _ in self.widths}

    def resume(self, facts: Mapping[str, Any], unfinished: Columns) -> None:
        """Goes on from a mark, in a folder that holds what was written up to it, or more.

        Args:
          facts: of `mark`.
          unfinished: likewise.

        Raises:
          InputError: a file is missing or damaged.
        """
        self._files = [ShardFile(**{**f, "checksums": tuple(f["checksums"])}) for f in facts["files"]]
        for file in self._files:
            path = self._folder / file.name
            if not path.exists() or path.stat().st_size != file.size:
                raise damaged(self._folder, file.name, "is not what was written")
        # A file that was unfinished then may be finished by now.
        finished = self._folder / self._name(len(self._files))
        source = finished if finished.exists() else self._incomplete()
        if facts["checksums"]:
            self._copy_blocks(source, facts["checksums"])
        self.add(unfinished)
        for path in self._folder.glob(f"{self._split}.*.arrow"):
            if path.name not in {file.name for file in self._files}:
                path.unlink()

    def close(self) -> Blocks:
        """Writes what is left and returns the split."""
        if self._filled:
            self._write_block()
        self._end_file()
        return Blocks(self._folder, tuple(self._files), self._size, self.widths)

    def _write_block(self) -> None:
        if self._writer is None:
            self._writer = pa.ipc.new_file(str(self._incomplete()), self._schema)
        block = {group: self._block[group][: self._filled] for group, _ in self.widths}
        arrays = [
            pa.FixedSizeListArray.from_arrays(pa.array(_as_stored(block[group]).reshape(-1)), width)
            for group, width in self._stored
        ]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._checksums.append(_checksum(block))
        self._rows += self._filled
        self._filled = 0
        if len(self._checksums) == self._most:
            self._end_file()

    def _end_file(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        path = self._folder / self._name(len(self._files))
        self._incomplete().replace(path)
        self._files.append(ShardFile(path.name, path.stat().st_size, self._rows, tuple(self._checksums)))
        self._writer, self._checksums, self._rows = None, [], 0

    def _copy_blocks(self, source: Path, checksums: Sequence[int]) -> None:
        """Begins a file with the first blocks of one that may have no end."""
        copy = self._folder / f"{self._split}.copy"
        try:
            with pa.memory_map(str(source)) as content:
                content.seek(FILE_MAGIC_BYTES)
                reader = pa.ipc.open_stream(content)
                self._writer = pa.ipc.new_file(str(copy), self._schema)
                for checksum in checksums:
                    batch = reader.read_next_batch()
                    if _checksum(_matrices(batch, self.widths)) != checksum:
                        raise ValueError("a block is not what was written")
                    self._writer.write_batch(batch)
                    self._checksums.append(checksum)
                    self._rows += batch.num_rows
        except (OSError, StopIteration, pa.ArrowException, KeyError, ValueError) as error:
            raise damaged(self._folder, source.name, error) from error
        copy.replace(self._incomplete())

    def _name(self, number: int) -> str:
        return f"{self._split}.{number:06d}.arrow"

    def _incomplete(self) -> Path:
        return self._folder / f"{self._split}.incomplete"


def read_blocks(blocks: Blocks, numbers: Sequence[int] | np.ndarray, out: Columns) -> int:
    """Copies blocks, one after another, into the first rows of arrays, and checks them.

    Args:
      blocks: the split.
      numbers: which blocks; rising numbers open every file once.
      out: for every group an array with room for their rows.

    Returns:
      The number of rows.

    Raises:
      InputError: a file is missing or damaged.
    """
    per_file = [len(file.checksums) for file in blocks.files]
    first = np.concatenate([[0], np.cumsum(per_file)])
    reader: Any = None
    row, opened = 0, -1
    for number in numbers:
        place = int(np.searchsorted(first, number, "right")) - 1
        file = blocks.files[place]
        try:
            if place != opened:
                reader = pa.ipc.open_file(pa.memory_map(str(blocks.folder / file.name)))
                opened = place
            batch = reader.get_batch(int(number - first[place]))
            rows = batch.num_rows
            for group, matrix in _matrices(batch, blocks.widths).items():
                out[group][row : row + rows] = matrix
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise damaged(blocks.folder, file.name, error) from error
        copied = {group: out[group][row : row + rows] for group, _ in blocks.widths}
        if _checksum(copied) != file.checksums[number - first[place]]:
            raise damaged(blocks.folder, file.name, f"block {number} is not what was written")
        row += rows
    return row


def head(blocks: Blocks, max_rows: int | None = None) -> Columns:
    """Reads the first rows of a split into memory.

    Args:
      blocks: the split.
      max_rows: at most so many; None for all.

    Returns:
      Columns of `min(max_rows, N)` rows.
    """
    rows = blocks.rows if max_rows is None else min(max_rows, blocks.rows)
    count = -(-rows // blocks.rows_per_block)
    out = blocks.empty(min(count * blocks.rows_per_block, blocks.rows))
    read_blocks(blocks, range(count), out)
    return {group: column[:rows] for group, column in out.items()}


def damaged(folder: Path, name: str, reason: object) -> InputError:
    """Returns the error for a file that is not what was written."""
    why = " ".join(str(reason).split())
    return InputError(f"{folder / name}: is damaged ({why}); delete the folder {folder} and run again")


def _stored_type(group: str) -> pa.DataType:
    """Arrow packs booleans into bits; bytes are what a matrix without a copy needs."""
    return pa.from_numpy_dtype(np.uint8 if group == "mask" else np.dtype(DTYPES[group]))


def _matrices(batch: pa.RecordBatch, widths: Sequence[tuple[str, int]]) -> Columns:
    """The matrices of a block, without a copy."""
    found = {}
    for group, width in widths:
        if width:
            values = batch.column(group).flatten().to_numpy().reshape(batch.num_rows, width)
            found[group] = values.view(bool) if group == "mask" else values
    return found


def _as_stored(matrix: np.ndarray) -> np.ndarray:
    return matrix.view(np.uint8) if matrix.dtype == bool else matrix


def _checksum(block: Columns) -> int:
    found = 0
    for group in DTYPES:
        if group in block and block[group].size:
            found = zlib.crc32(block[group].data, found)
    return found
