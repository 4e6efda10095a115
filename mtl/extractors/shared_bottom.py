"""Shared-Bottom: hard parameter sharing."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers import StackedMLP, tap_common
from mtl.types import Array


class SharedBottom(nn.Module):
    """One network for all tasks, `h_t = MLP(x)`.

    The tap is the bottom's output `[B, H]`: all shared parameters lie behind it.

    Reference: Caruana, Multitask Learning, Machine Learning 28, 1997. The default of 113 units is that of
    Ma et al., KDD 2018, Sec. 5.1: as many weights as 8 experts of 16 units on 100 features.

    Attributes:
      num_tasks: T.
      bottom_features: units of each layer.
      dtype: dtype of the computation; parameters are float32.
      remat: whether what lies inside the networks is computed anew for gradients, see `StackedMLP`.
    """

    num_tasks: int
    bottom_features: tuple[int, ...] = (113,)
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @nn.compact
    def common(self, x: Array, *, train: bool = False) -> Array:
        """Extracts features once: `[B, D] → [B, H]`, what every task gets."""
        del train
        h = StackedMLP((), self.bottom_features, self.dtype, self.remat, name="bottom")(x)
        return self.perturb("representation", h)

    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Extracts features.

        Args:
          x: `[B, D]`.
          train: unused.

        Returns:
          `[T, B, H]`, T times the same.
        """
        h = self.common(x, train=train)
        return tap_common(self, h, self.num_tasks)
