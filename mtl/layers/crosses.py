"""Direct inputs and crosses: columns beside the products of user and item embeddings."""

import flax.linen as nn
import jax.numpy as jnp

from mtl.layers.embedding import Encoder, beside, pool_sequences
from mtl.types import Array


class Crosses(nn.Module):
    """The features of `Encoder`, and p ⊙ q for every embedding p of the user's side and q of the item's.

    On the user's side are the user's columns and the averaged sequences of items.

    Attributes:
      tables: the embeddings, with `sequences`.
      users: positions of the user's side among the columns, where a sequence counts as one.
      items: positions of the item's side among them.
    """

    tables: Encoder
    users: tuple[int, ...]
    items: tuple[int, ...]

    def look_up(self, ids: Array) -> Array:
        """Returns the embeddings of a batch, `[B, C, E]` or `[T, B, C, E]`; see `Encoder.look_up`."""
        return self.tables.look_up(ids)

    def __call__(self, ids: Array, numeric: Array, *, rows: Array | None = None) -> Array:
        """Encodes a batch.

        Args:
          ids: `[B, C] int32`.
          numeric: `[B, F]`.
          rows: the embeddings, to skip the look-up.

        Returns:
          `[B, D]`, or `[T, B, D]` with private tables.
        """
        rows = (self.look_up(ids) if rows is None else rows).astype(self.tables.dtype)
        pooled = pool_sequences(ids, rows, self.tables.sequences)
        products = pooled[..., list(self.users), None, :] * pooled[..., None, list(self.items), :]
        products = products.reshape(*pooled.shape[:-2], -1, pooled.shape[-1])
        return beside(jnp.concatenate([pooled, products], axis=-2), numeric)
