"""CGC: customised gate control, PLE with a single level."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers import CGCLevel
from mtl.types import Array


class CGC(nn.Module):
    """Each task mixes its own experts and the shared ones, `h_t = softmax(W_t x) [S_t; S_shared]`.

    The tap is the shared experts' output `[m_s, B, H]`, which lies in `level1`. The encoder is also
    reached through gates and private experts, paths that gradients at the tap do not see.

    With the default sizes two tasks have 2·2 + 4 = 8 experts of 16 units, as many as `MMoE`; T tasks
    have 2T + 4.

    Reference: Tang et al., Progressive Layered Extraction, RecSys 2020, Sec. 4.1.

    Attributes:
      num_tasks: T.
      task_experts: m, experts of each task.
      shared_experts: m_s.
      expert_features: units of each expert's layers.
      dropout_rate: gate dropout, see `Gate`.
      dtype: dtype of the computation; parameters are float32.
      remat: whether what lies inside the networks is computed anew for gradients, see `StackedMLP`.
    """

    num_tasks: int
    task_experts: int = 2
    shared_experts: int = 4
    expert_features: tuple[int, ...] = (16,)
    dropout_rate: float = 0.0
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Extracts features.

        Args:
          x: `[B, D]`.
          train: whether gate dropout is on.

        Returns:
          `[T, B, H]`.
        """
        level = CGCLevel(
            self.num_tasks,
            self.task_experts,
            self.shared_experts,
            self.expert_features,
            last=True,
            dropout_rate=self.dropout_rate,
            dtype=self.dtype,
            remat=self.remat,
            name="level1",
        )
        return level(x, x, train=train)[0]
