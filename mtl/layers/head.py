"""Linear heads: hidden units of each task → its outputs."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from mtl.layers.stacked_dense import StackedDense
from mtl.types import Array, widened


class Heads(nn.Module):
    """One linear layer per task, `o_t = h_t W_t + b_t`, in float32 or wider.

    All heads are K_max wide so that they run as one product. Outputs of task t beyond its own K_t are
    zero, and their parameters get no gradient.

    Attributes:
      num_outputs: K_t of each of T tasks.
      use_bias: whether to add b.
    """

    num_outputs: tuple[int, ...]
    use_bias: bool = True

    @nn.compact
    def __call__(self, h: Array) -> Array:
        """Applies the heads.

        Args:
          h: `[T, B, H]`.

        Returns:
          `[T, B, K_max]` float32 or wider.
        """
        widest = max(self.num_outputs)
        h = widened(h)
        stack = (len(self.num_outputs),)
        outputs = StackedDense(stack, widest, use_bias=self.use_bias, dtype=h.dtype, name="dense")(h)
        used = np.arange(widest) < np.array(self.num_outputs)[:, None]
        return outputs if used.all() else jnp.where(used[:, None, :], outputs, 0.0)
