"""OMoE: one-gate mixture of experts."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers import Gate, StackedMLP, mix, tap_common
from mtl.types import Array


class OMoE(nn.Module):
    """One gate mixes the experts for all tasks, `h_t = Σ_i g(x)_i f_i(x)`, `g = softmax(W x)`.

    The tap is the mixture `[B, H]`: all shared parameters lie behind it.

    Reference: Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
    Mixture-of-Experts, KDD 2018, Sec. 4.1; default sizes from Sec. 5.1.

    Attributes:
      num_tasks: T.
      num_experts: E.
      expert_features: units of each expert's layers.
      dropout_rate: gate dropout, see `Gate`.
      dtype: dtype of the computation; parameters are float32.
      remat: whether what lies inside the networks is computed anew for gradients, see `StackedMLP`.
    """

    num_tasks: int
    num_experts: int = 8
    expert_features: tuple[int, ...] = (16,)
    dropout_rate: float = 0.0
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @nn.compact
    def common(self, x: Array, *, train: bool = False) -> Array:
        """Extracts features once: `[B, D] → [B, H]`, what every task gets."""
        experts = StackedMLP(
            (self.num_experts,), self.expert_features, self.dtype, self.remat, name="experts"
        )
        gate = Gate(1, self.num_experts, self.dropout_rate, self.dtype, name="gate")
        h = mix(gate(x, train=train), experts(x))[0]
        return self.perturb("representation", h)

    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Extracts features.

        Args:
          x: `[B, D]`.
          train: whether gate dropout is on.

        Returns:
          `[T, B, H]`, T times the same.
        """
        h = self.common(x, train=train)
        return tap_common(self, h, self.num_tasks)
