"""Single-task: no sharing, the baseline of every comparison."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers import StackedMLP
from mtl.types import Array


class SingleTask(nn.Module):
    """T separate bottoms, `h_t = MLP_t(x)`; nothing is shared, so there is no tap.

    Each bottom has the default size of `SharedBottom`'s one, so that a task's network is the same in
    both. `build_model` also gives every task its own embedding tables with this extractor.

    Attributes:
      num_tasks: T.
      bottom_features: units of each layer of a bottom.
      dtype: dtype of the computation; parameters are float32.
      remat: whether what lies inside the networks is computed anew for gradients, see `StackedMLP`.
    """

    num_tasks: int
    bottom_features: tuple[int, ...] = (113,)
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Extracts features.

        Args:
          x: `[B, D]`, or `[T, B, D]` when each task has its own.
          train: unused.

        Returns:
          `[T, B, H]`.
        """
        del train
        return StackedMLP((self.num_tasks,), self.bottom_features, self.dtype, self.remat, name="bottoms")(x)
