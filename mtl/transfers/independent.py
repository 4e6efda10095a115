"""Independent: no transfer between tasks."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers import Heads
from mtl.types import Array


class Independent(nn.Module):
    """Each task's outputs come from its own tower, `o_t = h_t W_t + b_t`.

    Attributes:
      parents: positions of each task's parents; unused.
      num_outputs: K_t of each task.
      dtype: unused; heads are computed in float32.
    """

    parents: tuple[tuple[int, ...], ...]
    num_outputs: tuple[int, ...]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, h: Array) -> Array:
        """Computes the outputs.

        Args:
          h: `[T, B, H]`, the towers' outputs.

        Returns:
          `[T, B, K_max]` float32; task t uses the first K_t, the others are 0.
        """
        return Heads(self.num_outputs, name="heads")(h)
