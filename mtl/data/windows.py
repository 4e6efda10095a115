"""The order in which a run reads a split that is larger than memory: windows of blocks, shuffled by a key.

Every epoch permutes the blocks and cuts them into windows of W; the rows of a window are permuted. Batches
are cut from the windows one after another. Both permutations are functions of (seed, epoch, window), so that
the batch of any step is found without those before it, and memory holds one window.

Rows are mixed as far as a window reaches, here 262,144 rows of 16 blocks from all over the split; rows that
lie in one block, 16,384 neighbours of the file, stay in one window. Files that are sorted by a label or by
time are mixed by the permutation of blocks, less well than by one of all rows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mtl.data import encode
from mtl.data.blocks import Blocks, Columns, read_blocks
from mtl.errors import InputError

WINDOW_ROWS = 262_144
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Windows(NamedTuple):
    """A split that is read window by window.

    Attributes:
      blocks: the split.
      size: blocks per window W.
    """

    blocks: Blocks
    size: int

    @property
    def rows(self) -> int:
        """Rows N of the split."""
        return self.blocks.rows


def windows_of(blocks: Blocks, window_rows: int = WINDOW_ROWS) -> Windows:
    """Chooses the windows of a split.

    Args:
      blocks: the split.
      window_rows: rows of a window, which memory holds; rounded down to whole blocks, at least one.

    Returns:
      The windows.
    """
    return Windows(blocks, max(1, window_rows // blocks.rows_per_block))


class Stream:
    """The batches of one run: reads steps of it, in any order; the window read last is kept."""

    def __init__(self, windows: Windows, seed: int, batch_size: int, steps_per_epoch: int):
        """Starts with nothing in memory.

        Args:
          windows: the split.
          seed: root seed of the run.
          batch_size: rows B per step.
          steps_per_epoch: steps in an epoch, at most N // B; the rows left over are not read.

        Raises:
          InputError: an epoch needs more rows than there are.
        """
        if steps_per_epoch * batch_size > windows.rows:
            raise InputError(
                f"{steps_per_epoch} steps of {batch_size} rows are more than the {windows.rows} of the split"
            )
        self._windows, self._seed = windows, seed
        self._batch, self._per_epoch = batch_size, batch_size * steps_per_epoch
        self._order: tuple[int, np.ndarray, np.ndarray] | None = None
        self._held: tuple[int, int] | None = None
        self._shuffled = np.zeros(0, np.int64)
        self._buffer: Columns = {}

    def read(self, first: int, count: int, out: Columns) -> None:
        """Reads the batches of steps first … first + count − 1, a pure function of seed and steps.

        Args:
          first: number of the first step.
          count: number of steps.
          out: for every group an array `[count·B, width]`, which is filled.

        Raises:
          InputError: a file is missing or damaged.
        """
        row, end = first * self._batch, (first + count) * self._batch
        done = 0
        while row < end:
            epoch, position = divmod(row, self._per_epoch)
            _, starts, _ = self._epoch(epoch)
            window = int(np.searchsorted(starts, position, "right")) - 1
            start, stop = int(starts[window]), int(starts[window + 1])
            take = min(stop, self._per_epoch, position + end - row) - position
            self._load(epoch, window, stop - start)
            picked = self._shuffled[position - start :][:take]
            for group, column in self._buffer.items():
                np.take(column, picked, axis=0, out=out[group][done : done + take], mode="clip")
            row, done = row + take, done + take

    def _epoch(self, epoch: int) -> tuple[int, np.ndarray, np.ndarray]:
        """The epoch, the position at which each of its windows begins and the last ends, its blocks."""
        if self._order is None or self._order[0] != epoch:
            blocks, size = self._windows
            order = permutation(blocks.num_blocks, self._seed, epoch, 0)
            rows = np.full(blocks.num_blocks, blocks.rows_per_block)
            rows[-1] = blocks.rows - (blocks.num_blocks - 1) * blocks.rows_per_block
            ends = np.cumsum(rows[order])
            starts = np.concatenate([[0], ends[size - 1 : -1 : size], ends[-1:]])
            self._order = (epoch, starts, order)
        return self._order

    def _load(self, epoch: int, window: int, rows: int) -> None:
        """Reads a window into the buffer, and finds the order of its rows."""
        if self._held == (epoch, window):
            return
        _, _, order = self._epoch(epoch)
        blocks, size = self._windows
        if not self._buffer:
            self._buffer = blocks.empty(min(size, blocks.num_blocks) * blocks.rows_per_block)
        self._held = None  # until it is whole
        # In the order of the files; the rows are shuffled anyway.
        read_blocks(blocks, np.sort(order[window * size : (window + 1) * size]), self._buffer)
        self._shuffled = permutation(rows, self._seed, epoch, 1 + window)
        self._held = (epoch, window)


def read_steps(streams: Sequence[Stream], like: Blocks, batch_size: int, first: int, count: int) -> Columns:
    """Reads the same steps of several runs.

    Args:
      streams: one per run.
      like: blocks with the columns of their sets.
      batch_size: rows B per step.
      first: number of the first step.
      count: number of steps.

    Returns:
      New arrays `[streams, count·B, width]`.
    """
    out = like.empty(len(streams), count * batch_size)
    for i, stream in enumerate(streams):
        stream.read(first, count, {group: column[i] for group, column in out.items()})
    return out


def permutation(num_rows: int, *numbers: int) -> np.ndarray:
    """A random permutation of 0 … N−1, a function of some integers that is the same on every machine.

    Rows are sorted by the outputs of SplitMix64, whose state the integers have set; no two are equal.

    Args:
      num_rows: N.
      *numbers: what chooses it, such as seed, epoch and window.

    Returns:
      The rows in their new order `[N]` int64.

    Reference: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    """
    state = np.zeros(1, np.uint64)
    for number in numbers:
        state = encode.mixed(state + GOLDEN + np.uint64(number))
    return np.argsort(encode.mixed(state + GOLDEN * np.arange(1, num_rows + 1, dtype=np.uint64)))
