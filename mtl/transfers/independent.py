"""Independent: no transfer between tasks."""

import flax.linen as nn

from mtl.layers import Heads
from mtl.types import Array


class Independent(nn.Module):
    """Each task's outputs come from its own tower, `o_t = h_t W_t + b_t`.

    Attributes:
      num_outputs: K_t of each task.
    """

    num_outputs: tuple[int, ...]

    @nn.compact
    def __call__(self, h: Array, *, train: bool = False) -> Array:
        """Computes the outputs.

        Args:
          h: `[T, B, H]`, the towers' outputs.
          train: not read.

        Returns:
          `[T, B, K_max]` float32; task t uses the first K_t, the others are 0.
        """
        return Heads(self.num_outputs, name="heads")(h)
