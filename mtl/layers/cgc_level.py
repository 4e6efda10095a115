"""One level of customised gate control: the part that CGC and PLE share."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers.gate import Gate, Mixture, mix, tap_mixture
from mtl.layers.mlp import StackedMLP
from mtl.types import Array


class CGCLevel(nn.Module):
    """Experts per task, shared experts, one gate per task and, except at the last level, a shared gate.

    Task t fuses its own m experts and the m_s shared ones, `g_t = softmax(W_t z_t) [S_t; S_shared]`,
    where the selector z_t is what this branch received. The shared gate fuses all T·m + m_s experts of
    the level, so that a task's own experts are private to it at the last level only. That level has no
    shared gate; it taps its shared experts' output instead (`perturb("representation", [m_s, B, H])`).

    Reference: Tang et al., Progressive Layered Extraction, RecSys 2020, Sec. 4.1 and 4.2.

    Attributes:
      num_tasks: T.
      task_experts: m, experts of each task.
      shared_experts: m_s.
      expert_features: units of each expert's layers.
      last: whether this is the last level.
      dropout_rate: gate dropout, see `Gate`.
      dtype: dtype of the computation; parameters are float32.
      remat: whether what lies inside the experts is computed anew for gradients, see `StackedMLP`.
    """

    num_tasks: int
    task_experts: int
    shared_experts: int
    expert_features: tuple[int, ...]
    last: bool
    dropout_rate: float = 0.0
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    def _gate(self, num_gates: int, num_experts: int, name: str) -> Gate:
        return Gate(num_gates, num_experts, self.dropout_rate, self.dtype, name=name)

    @nn.compact
    def __call__(self, task: Array, shared: Array, *, train: bool = False) -> tuple[Array, Array]:
        """Applies the level.

        Args:
          task: the tasks' branches, `[T, B, D]`, or `[B, D]` when they are all the same.
          shared: the shared branch, `[B, D]`.
          train: whether gate dropout is on.

        Returns:
          The tasks' branches `[T, B, H]` and the shared branch `[B, H]`, which the last level returns as
          it came.
        """
        own = StackedMLP(
            (self.num_tasks, self.task_experts),
            self.expert_features,
            self.dtype,
            self.remat,
            name="task_experts",
        )(task)
        common = StackedMLP(
            (self.shared_experts,), self.expert_features, self.dtype, self.remat, name="shared_experts"
        )(shared)
        if self.last:
            common = self.perturb("representation", common)

        task_gate = self._gate(self.num_tasks, self.task_experts + self.shared_experts, name="task_gate")
        weights = task_gate(task, train=train)
        mixture = Mixture(weights, common, own)
        if self.last:
            return tap_mixture(self, mixture), shared

        everyone = jnp.concatenate([own.reshape(-1, *own.shape[2:]), common])
        shared_gate = self._gate(1, len(everyone), name="shared_gate")
        return mixture.together(), mix(shared_gate(shared, train=train), everyone)[0]
