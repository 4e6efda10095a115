"""PLE: progressive layered extraction, several levels of customised gate control."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers import CGCLevel
from mtl.types import Array


class PLE(nn.Module):
    """CGC levels in sequence; at all but the last a shared gate fuses all experts of the level.

    Level j of a branch (a task's, or the shared one) is fed by, and selected with, that branch's fused
    output of level j−1; level 1 takes x. Hence `g_{t,j} = softmax(W_{t,j} g_{t,j−1}) S_{t,j}`.

    The tap is the last level's shared experts' output `[m_s, B, H]`, which lies in that level. Lower
    levels and the encoder are also reached through gates and private experts, paths that gradients at
    the tap do not see.

    Default sizes are those of `CGC` at each level.

    Reference: Tang et al., Progressive Layered Extraction, RecSys 2020, Sec. 4.2.

    Attributes:
      num_tasks: T.
      num_levels: number of levels; the paper uses 2, and 1 is `CGC`.
      task_experts: m, experts of each task and level.
      shared_experts: m_s of each level.
      expert_features: units of each expert's layers.
      dropout_rate: gate dropout, see `Gate`.
      dtype: dtype of the computation; parameters are float32.
      remat: whether what lies inside the networks is computed anew for gradients, see `StackedMLP`.
    """

    num_tasks: int
    num_levels: int = 2
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
        task = shared = x
        for j in range(1, self.num_levels + 1):
            level = CGCLevel(
                self.num_tasks,
                self.task_experts,
                self.shared_experts,
                self.expert_features,
                last=j == self.num_levels,
                dropout_rate=self.dropout_rate,
                dtype=self.dtype,
                remat=self.remat,
                name=f"level{j}",
            )
            task, shared = level(task, shared, train=train)
        return task
