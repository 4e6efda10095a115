"""A stack of ReLU networks: experts, bottoms and towers."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers.stacked_dense import RELU_GAIN, StackedDense
from mtl.types import Array


class StackedMLP(nn.Module):
    """Independent multi-layer perceptrons of one shape, with a ReLU after every layer.

    With `stack=(E,)` these are E experts, with `(T, m)` m experts per task, with `(T,)` the towers, and
    with `()` one network. Every layer of the whole stack is one batched product.

    Attributes:
      stack: sizes of the stack axes.
      features: units of each layer; without layers the input passes through.
      dtype: dtype of the computation; parameters are float32.
      remat: whether the layers are computed anew in every backward pass instead of being kept. It saves the
        outputs of all layers but the last, and the last before its ReLU, and costs one more forward pass of
        this stack per backward pass; of use where experts are deep or there are several levels of them, on
        accelerators: XLA's compiler for CPUs merges the two passes again.
    """

    stack: tuple[int, ...]
    features: tuple[int, ...]
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *others: Array) -> Array:
        """Applies the networks.

        Args:
          x: `[*S, B, D]` where S is a prefix of `stack`; `[B, D]` feeds the same rows to all networks.
          others: further inputs of the first layer, see `StackedDense`.

        Returns:
          `[*stack, B, features[-1]]`; without layers `x`, broadcast to `[*stack, B, D]`.
        """
        layers = nn.remat(StackedMLP._layers) if self.remat and self.features else StackedMLP._layers
        x = layers(self, x, *others)
        return jnp.broadcast_to(x, (*self.stack, *x.shape[-2:]))

    def _layers(self, x: Array, *others: Array) -> Array:
        for i, units in enumerate(self.features):
            dense = StackedDense(
                self.stack, units, gain=RELU_GAIN, relu=True, dtype=self.dtype, name=f"dense{i}"
            )
            x = dense(x, *(others if i == 0 else ()))
        return x
