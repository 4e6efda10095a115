"""From raw columns to features: embedding tables for ids, and the numbers as they are."""

import itertools
from collections.abc import Sequence

import flax.linen as nn
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


def gather(tables: Array, ids: Array) -> Array:
    """Looks rows up. It is a step of its own so that gradients can be taken at the rows.

    Args:
      tables: `[V, embedding_dim]`, or `[T, V, embedding_dim]` for private tables.
      ids: `[B, C] int32`, rows of the table (see `fused_ids`).

    Returns:
      `[B, C, embedding_dim]` or `[T, B, C, embedding_dim]`; NaN where an id is outside the table.
    """
    return jnp.take(tables, ids, axis=-2, mode="fill")


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
            nn.initializers.normal(self.embedding_dim**-0.5),
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
        numeric = numeric.astype(self.dtype)
        if not self.vocab_sizes:
            return numeric
        if rows is None:
            rows = self.look_up(ids)
        rows = self._pooled(ids, rows.astype(self.dtype))
        flat = rows.reshape(*rows.shape[:-2], -1)
        numeric = jnp.broadcast_to(numeric, (*flat.shape[:-1], numeric.shape[-1]))
        return jnp.concatenate([flat, numeric], axis=-1)

    def _pooled(self, ids: Array, rows: Array) -> Array:
        """Replaces the rows of every sequence by their mean."""
        if self.sequences is None or max(self.sequences) < 0:
            return rows
        parts = []
        for number, columns in itertools.groupby(range(len(self.sequences)), self.sequences.__getitem__):
            part = np.array(list(columns))
            if number < 0:
                parts.append(rows[..., part, :])
                continue
            live = (ids[:, part] > 0).astype(self.dtype)[..., None]
            total = jnp.sum(rows[..., part, :] * live, axis=-2, keepdims=True)
            parts.append(total / jnp.maximum(jnp.sum(live, axis=-2, keepdims=True), 1))
        return jnp.concatenate(parts, axis=-2)
