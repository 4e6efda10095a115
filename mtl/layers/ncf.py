"""Interactions of user and item: GMF, MLP and NeuMF."""

import flax.linen as nn
import jax.numpy as jnp

from mtl.layers.embedding import Encoder, columns_at
from mtl.layers.mlp import StackedMLP
from mtl.types import Array


class NCF(nn.Module):
    """The interaction z of a user and an item from their embeddings.

        GMF: z = p ⊙ q,   MLP: z = MLP([p ; q]),   NeuMF: z = [p ⊙ q ; MLP([p' ; q'])]

    p and q are the sums of the embeddings of the user's and of the item's columns. NeuMF halves the rows of
    the
    tables: the first half is for the product, the second for the network.

    Reference: He et al., Neural Collaborative Filtering, WWW 2017, https://arxiv.org/abs/1708.05031.

    Attributes:
      tables: the embeddings.
      users: positions of the user's columns.
      items: positions of the item's columns.
      interaction: `gmf`, `mlp` or `neumf`.
      features: units of each layer of the network.
    """

    tables: Encoder
    users: tuple[int, ...]
    items: tuple[int, ...]
    interaction: str = "neumf"
    features: tuple[int, ...] = (16, 8)

    def look_up(self, ids: Array) -> Array:
        """Returns the embeddings of a batch, `[B, C, E]` or `[T, B, C, E]`; see `Encoder.look_up`."""
        return self.tables.look_up(ids)

    @nn.compact
    def __call__(self, ids: Array, numeric: Array, *, rows: Array | None = None) -> Array:
        """Encodes a batch.

        Args:
          ids: `[B, C] int32`.
          numeric: `[B, F]`, not read.
          rows: the embeddings, to skip the look-up.

        Returns:
          `[B, D]`, or `[T, B, D]` with private tables.
        """
        rows = (self.look_up(ids) if rows is None else rows).astype(self.tables.dtype)
        user = jnp.sum(columns_at(rows, self.users), axis=-2)
        item = jnp.sum(columns_at(rows, self.items), axis=-2)
        if self.interaction == "gmf":
            return user * item
        half = user.shape[-1] // 2 if self.interaction == "neumf" else 0
        network = StackedMLP(self.tables.table_stack, self.features, self.tables.dtype, name="mlp")
        deep = network(jnp.concatenate([user[..., half:], item[..., half:]], axis=-1))
        if self.interaction == "mlp":
            return deep
        return jnp.concatenate([user[..., :half] * item[..., :half], deep], axis=-1)
