"""From raw columns to features: embedding tables for ids, and the numbers as they are."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mtl.types import Array


def fused_ids(ids: Array, vocab_sizes: Sequence[int]) -> Array:
    """Turns each column's ids into rows of the one fused table, `id + Σ sizes of earlier columns`.

    Args:
      ids: `[B, C] int32`, column c in [0, vocab_sizes[c]).
      vocab_sizes: C vocabulary sizes.

    Returns:
      `[B, C] int32` in [0, V).
    """
    offsets = np.cumsum([0, *vocab_sizes[:-1]], dtype=np.int32)
    return ids + offsets


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

    All columns share one fused parameter `tables`, `[V, embedding_dim]` with V the sum of the vocabulary
    sizes; there is none without id columns. Rows start with expected squared norm 1, like one
    standardised number.

    Attributes:
      vocab_sizes: C vocabulary sizes.
      embedding_dim: length of a row.
      table_stack: `()` for one table that all tasks share, `(T,)` for a private one per task.
      dtype: dtype of the features; parameters are float32.
    """

    vocab_sizes: tuple[int, ...]
    embedding_dim: int = 8
    table_stack: tuple[int, ...] = ()
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, ids: Array, numeric: Array, *, rows: Array | None = None) -> Array:
        """Encodes a batch.

        Args:
          ids: `[B, C] int32`; C may be 0.
          numeric: `[B, F] float32`; F may be 0.
          rows: the result of `gather`, to skip the look-up; `tables` is then not needed.

        Returns:
          `[B, D]`, D = C·embedding_dim + F; `[T, B, D]` with private tables and C > 0.
        """
        numeric = numeric.astype(self.dtype)
        if not self.vocab_sizes:
            return numeric
        if rows is None:
            tables = self.param(
                "tables",
                nn.initializers.normal(self.embedding_dim**-0.5),
                (*self.table_stack, sum(self.vocab_sizes), self.embedding_dim),
                jnp.float32,
            )
            rows = gather(tables, fused_ids(ids, self.vocab_sizes))
        flat = rows.astype(self.dtype).reshape(*rows.shape[:-2], -1)
        numeric = jnp.broadcast_to(numeric, (*flat.shape[:-1], numeric.shape[-1]))
        return jnp.concatenate([flat, numeric], axis=-1)
