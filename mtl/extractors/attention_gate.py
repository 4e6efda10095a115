"""Attention gate: each task attends to the experts with a query of its own."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers import Mixture, StackedMLP, softmax_gate, tap_mixture
from mtl.types import Array, widened


class AttentionGate(nn.Module):
    """Mixes experts by how well they match a learned query, `h_t = Σ_i a_ti f_i(x)`.

        a_t = softmax_i(⟨q_t, f_i(x)⟩ / √H)

    Keys and values are the experts' outputs themselves: a projection of the keys common to all experts is
    absorbed by the queries, one of the values by the towers' first layers.

    The tap is the experts' output `[E, B, H]` as values. The way through the keys, like that through the
    gates of `MMoE`, is not seen there.

    Reference: Vaswani et al., Attention Is All You Need, NIPS 2017, eq. (1), with one query per task over the
    experts of Ma et al., KDD 2018.

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
        keys = StackedMLP((self.num_experts,), self.expert_features, self.dtype, self.remat, name="experts")(
            x
        )
        values = self.perturb("representation", keys)
        attention = _Attention(self.num_tasks, self.dropout_rate, self.dtype, name="gate")
        return tap_mixture(self, Mixture(attention(keys, train=train), values))


class _Attention(nn.Module):
    """The weights `[T, B, E]` of T queries over keys `[E, B, H]`."""

    num_tasks: int
    dropout_rate: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, keys: Array, *, train: bool) -> Array:
        width = keys.shape[-1]
        query = self.param("query", nn.initializers.normal(1.0), (self.num_tasks, width), jnp.float32)
        logits = widened(jnp.einsum("th,ebh->tbe", query.astype(self.dtype), keys))
        return softmax_gate(self, logits / width**0.5, self.dropout_rate, train).astype(self.dtype)
