"""From raw columns to features: embedding tables for ids, and the numbers as they are."""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mtl.types import Array


def fused_ids(ids: Array, vocab_sizes: Sequence[int], owners: Sequence[int] | None = None) -> Array:
    """Turns each column's ids into rows of the one fused table, `id + Σ sizes of earlier tables`.

    Args:
      ids: `[B, C] int32`, column c in [0, vocab_sizes[c]).
      vocab_sizes: C vocabulary sizes.
      owners: for each column the column whose table it reads, itself or an earlier one of the same size;
        None where every column has its own.

    Returns:
      `[B, C] int32` in [0, V).
    """
    return ids + _offsets(vocab_sizes, owners)[:-1]


def _offsets(vocab_sizes: Sequence[int], owners: Sequence[int] | None) -> np.ndarray:
    """First row of each column's table, and V at the end."""
    owners = range(len(vocab_sizes)) if owners is None else owners
    own = [size if owner == c else 0 for c, (size, owner) in enumerate(zip(vocab_sizes, owners, strict=True))]
    starts = np.cumsum([0, *own], dtype=np.int32)
    return np.append(starts[list(owners)], starts[-1])


LARGE = 1 << 24
"""Entries from which a table is drawn block by block."""


def initial_rows(deviation: float, key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Draws rows from N(0, deviation²).

    Drawing a large table at once takes four times its memory, more than training it with Adam does.

    Args:
      deviation: standard deviation.
      key: a random key.
      shape: `[…, V, E]`.
      dtype: of the result.

    Returns:
      The table; one of `LARGE` entries or more is drawn in blocks of rows, each with a key of its own.
    """
    entries, num_rows = math.prod(map(int, shape)), int(shape[-2])
    if entries < LARGE:
        return deviation * jax.random.normal(key, shape, dtype)
    block = max(1, num_rows * LARGE // (16 * entries))

    def draw(i, table):
        # The last block ends with the table and overlaps the one before.
        start = jnp.minimum(i * block, num_rows - block)
        own = jax.random.fold_in(key, i)
        rows = deviation * jax.random.normal(own, (*shape[:-2], block, shape[-1]), dtype)
        return jax.lax.dynamic_update_slice_in_dim(table, rows, start, axis=len(shape) - 2)

    return jax.lax.fori_loop(0, -(-num_rows // block), draw, jnp.zeros(shape, dtype))


def gather(tables: Array, ids: Array) -> Array:
    """Looks rows up. It is a step of its own so that gradients can be taken at the rows.

    Args:
      tables: `[V, embedding_dim]`, or `[T, V, embedding_dim]` for private tables.
      ids: `[B, C] int32`, rows of the table (see `fused_ids`).

    Returns:
      `[B, C, embedding_dim]` or `[T, B, C, embedding_dim]`; NaN where an id is outside the table. What
      reaches such an embedding as a gradient is added to the first or last row, NaN where its value was
      used.
    """
    inside = (ids >= 0) & (ids < tables.shape[-2])
    valid = jnp.where(inside, 1.0, jnp.nan).astype(tables.dtype)
    return _checked(_rows_at(tables, ids), valid[..., None])


@jax.custom_jvp
def _checked(rows: Array, valid: Array) -> Array:
    """Rows where `valid` is 1, NaN where it is NaN; gradients pass as they are, which spares T passes.

    Divided, not selected: XLA repeats a selection, or a sum, wherever rows are read, which on CPU costs a
    model of histories a tenth of its step or more.
    """
    return rows / valid


@_checked.defjvp
def _checked_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return _checked(*primals), tangents[0]


def _rows_at(tables: Array, ids: Array) -> Array:
    """`jnp.take(tables, ids, axis=-2, mode="clip")`, with slices that keep the axis of rows.

    The gradient of `jnp.take` copies what it adds to the table, since XLA gives it that axis first: with four
    backward passes a tenth of a step of MGDA on CPU.
    """
    *stack, _, width = tables.shape
    lead = len(stack)
    numbers = jax.lax.GatherDimensionNumbers(
        offset_dims=(*range(lead), lead + 1, lead + 2), collapsed_slice_dims=(), start_index_map=(lead,)
    )
    mode = jax.lax.GatherScatterMode.CLIP
    rows = jax.lax.gather(tables, ids.reshape(-1, 1), numbers, (*stack, 1, width), mode=mode)
    return rows.reshape(*stack, *ids.shape, width)


def columns_at(rows: Array, positions: Sequence[int]) -> Array:
    """Takes some columns.

    Neighbours are sliced: the gradient of an index array is a scatter, which costs a multiple of what is
    done with a sequence on CPU.

    Args:
      rows: `[*S, B, C, E]`.
      positions: which of the C columns, in which order.

    Returns:
      `[*S, B, len(positions), E]`.
    """
    runs = [
        [position for _, position in run]
        for _, run in itertools.groupby(enumerate(positions), lambda pair: pair[1] - pair[0])
    ]
    slices = [rows[..., run[0] : run[-1] + 1, :] for run in runs]
    return slices[0] if len(slices) == 1 else jnp.concatenate([rows[..., :0, :], *slices], axis=-2)


def pool_sequences(
    ids: Array,
    rows: Array,
    sequences: Sequence[int] | None,
    pools: Mapping[int, Callable[[Array, Array], Array]] | None = None,
) -> Array:
    """Replaces the rows of every sequence by one.

    Args:
      ids: `[B, C] int32`; 0 in a sequence is padding.
      rows: `[*S, B, C, E]`.
      sequences: for each column the number of its sequence, −1 for a column of its own; None without any.
      pools: by the number of a sequence `(rows [*S, B, L, E], live [B, L] bool) → [*S, B, E]`; of the others
        the mean is taken, padding left out, which is 0 for an empty one.

    Returns:
      `[*S, B, C', E]` where a sequence counts as one of C' columns.
    """
    if sequences is None or max(sequences, default=-1) < 0:
        return rows
    groups = [(number, len(list(same))) for number, same in itertools.groupby(sequences)]
    bounds = np.cumsum([length for _, length in groups])[:-1]
    parts = []
    for (number, _), part, own in zip(
        groups, jnp.split(rows, bounds, axis=-2), jnp.split(ids, bounds, axis=-1), strict=True
    ):
        if number < 0:
            parts.append(part)
            continue
        pool = (pools or {}).get(number, live_mean)
        parts.append(pool(part, own > 0)[..., None, :])
    return jnp.concatenate(parts, axis=-2)


def live_mean(rows: Array, live: Array) -> Array:
    """Averages rows `[*S, B, L, E]` over the positions where `live [B, L]` is true; 0 where none is."""
    total = jnp.sum(jnp.where(live[..., None], rows, 0), axis=-2)
    return total / jnp.maximum(jnp.sum(live, axis=-1, keepdims=True), 1).astype(rows.dtype)


def joined(rows: Array, sequences: Sequence[Sequence[int]], length: int) -> Array:
    """Puts the embeddings of several sequences side by side.

    Args:
      rows: embeddings of all columns `[*S, B, C, E]`.
      sequences: positions of the columns of each of N sequences, N ≥ 0.
      length: L, the number of columns of each.

    Returns:
      `[*S, B, L, N·E]`.
    """
    if not sequences:
        return rows[..., :length, :0]
    return jnp.concatenate([columns_at(rows, positions) for positions in sequences], axis=-1)


def beside(rows: Array, numeric: Array) -> Array:
    """Puts rows `[*S, B, C, E]` one after the other, then the numbers `[B, F]`: `[*S, B, C·E + F]`."""
    flat = rows.reshape(*rows.shape[:-2], -1)
    numeric = jnp.broadcast_to(numeric.astype(rows.dtype), (*flat.shape[:-1], numeric.shape[-1]))
    return jnp.concatenate([flat, numeric], axis=-1)


class Encoder(nn.Module):
    """Concatenates the looked-up rows of all id columns and the numeric columns.

    All tables are one fused parameter `tables`, `[V, embedding_dim]` with V the sum of their sizes; there is
    none without id columns. Rows start with expected squared norm 1, like one standardised number. Of a
    sequence the mean of its rows is taken, padding (id 0) left out; an empty one gives 0.

    Attributes:
      vocab_sizes: C vocabulary sizes.
      owners: for each column the column whose table it reads, see `fused_ids`.
      sequences: for each column the number of its sequence; −1 for a column of its own.
      embedding_dim: length of a row.
      table_stack: `()` for one table that all tasks share, `(T,)` for a private one per task.
      dtype: dtype of the features; parameters are float32.
    """

    vocab_sizes: tuple[int, ...]
    embedding_dim: int = 8
    table_stack: tuple[int, ...] = ()
    dtype: DTypeLike = jnp.float32
    owners: tuple[int, ...] | None = None
    sequences: tuple[int, ...] | None = None

    @nn.compact
    def look_up(self, ids: Array) -> Array:
        """Returns the embeddings of a batch, see `gather`.

        Args:
          ids: `[B, C] int32`, C > 0.

        Returns:
          `[B, C, embedding_dim]`, or `[T, B, C, embedding_dim]` with private tables.
        """
        tables = self.param(
            "tables",
            functools.partial(initial_rows, self.embedding_dim**-0.5),
            (*self.table_stack, _offsets(self.vocab_sizes, self.owners)[-1], self.embedding_dim),
            jnp.float32,
        )
        return gather(tables, fused_ids(ids, self.vocab_sizes, self.owners))

    def __call__(self, ids: Array, numeric: Array, *, rows: Array | None = None) -> Array:
        """Encodes a batch.

        Args:
          ids: `[B, C] int32`; C may be 0.
          numeric: `[B, F] float32`; F may be 0.
          rows: the result of `gather`, to skip the look-up; `tables` is then not needed.

        Returns:
          `[B, D]`, D = C·embedding_dim + F where a sequence counts as one of C columns; `[T, B, D]` with
          private tables and C > 0.
        """
        if not self.vocab_sizes:
            return numeric.astype(self.dtype)
        if rows is None:
            rows = self.look_up(ids)
        return beside(pool_sequences(ids, rows.astype(self.dtype), self.sequences), numeric)
