"""Cross-stitch: one network per task, whose layers exchange activations."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers import RELU_GAIN, StackedDense
from mtl.types import Array


class CrossStitch(nn.Module):
    """After every layer the tasks' activations are mixed by a learned matrix, `a_t ← Σ_s α_ts a_s`.

    α starts at `own` on the diagonal and shares the rest evenly. The tap is the last layer's output
    `[T, B, H]`, before its stitch: every earlier parameter lies behind it.

    Reference: Misra, Shrivastava, Gupta, Hebert, Cross-stitch Networks for Multi-task Learning, CVPR 2016,
    eq. (1). The paper has one α per layer for two tasks; here it is
    T × T.

    Attributes:
      num_tasks: T.
      bottom_features: units of each layer of a task's network.
      own: α_tt at the start.
      dtype: dtype of the computation; parameters are float32.
    """

    num_tasks: int
    bottom_features: tuple[int, ...] = (113,)
    own: float = 0.9
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Extracts features.

        Args:
          x: `[B, D]`.
          train: unused.

        Returns:
          `[T, B, H]`.
        """
        del train
        last = len(self.bottom_features) - 1
        for i, units in enumerate(self.bottom_features):
            x = StackedDense(
                (self.num_tasks,), units, gain=RELU_GAIN, relu=True, dtype=self.dtype, name=f"dense{i}"
            )(x)
            if i == last:
                x = self.perturb("representation", x)
            stitch = self.param(f"stitch{i}", self._start, (self.num_tasks, self.num_tasks), jnp.float32)
            x = jnp.einsum("ts,sbh->tbh", stitch.astype(self.dtype), x)
        return x

    def _start(self, key: Array, shape: tuple[int, int], dtype: DTypeLike) -> Array:
        del key
        others = (1.0 - self.own) / max(shape[0] - 1, 1)
        eye = jnp.eye(shape[0], dtype=dtype)
        return eye * self.own + (1.0 - eye) * others
