"""DSelect-k: gates that learn which k experts each row of a task reads, smoothly."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mtl.errors import InputError
from mtl.layers import Mixture, StackedDense, StackedMLP, simplex_gate, tap_mixture
from mtl.types import Array, widened


class DSelectK(nn.Module):
    """Per task k selectors of one expert each, mixed by a softmax, `h_t = Σ_e w_te f_e(x)`.

        w_t = Σ_{i ≤ k} softmax(A_t x)_i r(Z_ti x)
        r(z)_e = Π_{b ≤ m} (S(z_b) if bit b of e is 1 else 1 − S(z_b))
        S(z) = 0 below −½, −2 z³ + 3/2 z + ½ between, 1 above ½         (smooth step)

    m = log₂ E bits number the experts. r(z) is on the simplex; when all S are 0 or 1 it is one expert, and
    the mixture has k of them at most. `entropy_penalty` times the mean entropy of the selectors of a task,
    which pushes them there, is added to its training loss.

    The tap is the experts' output `[E, B, H]`, as in `MMoE`.

    Reference: Hazimeh, Zhao, Chowdhery, Sathiamoorthy, Chen, Mazumder, Hong, Chi, DSelect-k: Differentiable
    Selection in the Mixture of Experts with Applications to Multi-Task Learning, NeurIPS 2021, Section 2,
    per-example gates. Departure: E is a power of 2, so that every code names an expert.

    Attributes:
      num_tasks: T.
      num_experts: E, a power of 2.
      num_selected: k.
      expert_features: units of each expert's layers.
      entropy_penalty: λ; the paper tunes it.
      dropout_rate: gate dropout, see `Gate`.
      dtype: dtype of the computation; parameters are float32.
      remat: whether what lies inside the networks is computed anew for gradients, see `StackedMLP`.
    """

    num_tasks: int
    num_experts: int = 8
    num_selected: int = 2
    expert_features: tuple[int, ...] = (16,)
    entropy_penalty: float = 0.0
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

        Raises:
          InputError: the number of experts is not a power of 2.
        """
        if self.num_experts & (self.num_experts - 1):
            raise InputError(
                f"dselect_k: num_experts is {self.num_experts}, expected a power of 2, such as 8"
            )
        experts = StackedMLP(
            (self.num_experts,), self.expert_features, self.dtype, self.remat, name="experts"
        )(x)
        experts = self.perturb("representation", experts)
        gate = _Selectors(
            self.num_tasks, self.num_experts, self.num_selected, self.dropout_rate, self.dtype, name="gate"
        )
        weights, entropy = gate(x, train=train)
        self.sow("penalties", "entropy", self.entropy_penalty * entropy)
        return tap_mixture(self, Mixture(weights, experts))


def smooth_step(z: Array) -> Array:
    """The cubic S with S(z) = 0 for z ≤ −½, 1 for z ≥ ½, and a continuous derivative."""
    z = jnp.clip(z, -0.5, 0.5)
    return (1.5 - 2.0 * z * z) * z + 0.5


class _Selectors(nn.Module):
    """The weights `[T, B, E]`, and the mean entropy `[T]` of the selectors."""

    num_tasks: int
    num_experts: int
    num_selected: int
    dropout_rate: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> tuple[Array, Array]:
        bits = self.num_experts.bit_length() - 1
        k = self.num_selected
        choice = StackedDense((self.num_tasks,), k, use_bias=False, dtype=self.dtype, name="choice")(x)
        shares = jax.nn.softmax(widened(choice))  # [T, B, k]
        if bits:
            codes = StackedDense(
                (self.num_tasks,), k * bits, gain=0.01, use_bias=False, dtype=self.dtype, name="codes"
            )(x)
            step = smooth_step(widened(codes)).reshape(*codes.shape[:2], k, 1, bits)
            number = (np.arange(self.num_experts)[:, None] >> np.arange(bits)) & 1  # [E, bits]
            selectors = jnp.prod(jnp.where(number == 1, step, 1.0 - step), axis=-1)  # [T, B, k, E]
        else:
            selectors = jnp.ones((*choice.shape, 1), jnp.float32)
        weights = jnp.einsum("tbk,tbke->tbe", shares, selectors)
        # At 0, where the logarithm has no slope, a selector has none either.
        logs = jnp.log(jnp.where(selectors > 0, selectors, 1.0))
        entropy = -jnp.sum(selectors * logs, axis=(-1, -2))
        weights = simplex_gate(self, weights, self.dropout_rate, train)
        return weights.astype(self.dtype), jnp.mean(entropy, axis=-1)
