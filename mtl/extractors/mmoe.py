"""MMoE: multi-gate mixture of experts."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers import Gate, Mixture, StackedMLP, tap_mixture
from mtl.types import Array


class MMoE(nn.Module):
    """One gate per task mixes the experts, `h_t = Σ_i g_t(x)_i f_i(x)`, `g_t = softmax(W_t x)`.

    The tap is the experts' output `[E, B, H]`. The experts lie wholly behind it; the encoder is also
    reached through the gates, a path that gradients at the tap do not see.

    Reference: Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
    Mixture-of-Experts, KDD 2018, Sec. 4.2; default sizes from Sec. 5.1.

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
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Extracts features.

        Args:
          x: `[B, D]`.
          train: whether gate dropout is on.

        Returns:
          `[T, B, H]`.
        """
        experts = StackedMLP(
            (self.num_experts,), self.expert_features, self.dtype, self.remat, name="experts"
        )(x)
        experts = self.perturb("representation", experts)
        gate = Gate(self.num_tasks, self.num_experts, self.dropout_rate, self.dtype, name="gate")
        weights = gate(x, train=train)
        return tap_mixture(self, Mixture(weights, experts))
