"""A tower that ends in a vector, for dot products."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers.mlp import StackedMLP
from mtl.layers.stacked_dense import StackedDense
from mtl.types import Array


class VectorTower(nn.Module):
    """Networks with a linear last layer, `v_s = W_s MLP_s(x_s) + b_s`.

    Attributes:
      stack: sizes of the stack axes, such as `(T,)` for a tower per task.
      features: units of each hidden layer.
      dim: M, the length of v.
      dtype: dtype of the computation; parameters are float32.
    """

    stack: tuple[int, ...]
    features: tuple[int, ...]
    dim: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, rows: Array) -> Array:
        """Computes vectors.

        Args:
          rows: embeddings `[*S, B, C, E]` where S is a prefix of `stack`.

        Returns:
          v `[*stack, B, M]`.
        """
        x = rows.reshape(*rows.shape[:-2], -1).astype(self.dtype)
        hidden = StackedMLP(self.stack, self.features, self.dtype, name="mlp")(x)
        return StackedDense(self.stack, self.dim, dtype=self.dtype, name="vector")(hidden)
