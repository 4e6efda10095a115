"""SNR: sub-network routing, whose connections are learned and may vanish."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.errors import InputError
from mtl.layers import StackedMLP, stacked_init, stacked_matmul
from mtl.types import Array


class SNR(nn.Module):
    """Levels of sub-networks, connected by coding variables z that training samples and serving fixes.

        v_i = Σ_j z_ij W_ij u_j   (`transform`, SNR-Trans),     v_i = Σ_j z_ij u_j   (SNR-Aver)

    u are the outputs of a level, v the inputs of the next or, after the last, the features of task i. z is
    hard-concrete with parameter α_ij, u ~ U(0, 1) drawn once per batch, γ = −stretch and ζ = 1 + stretch:

        training   s = σ((log u − log(1 − u) + log α) / β),   z = clip(s (ζ − γ) + γ, 0, 1)
        serving    z = clip(σ(log α) (ζ − γ) + γ, 0, 1)

    The expected number of connections, Σ σ(log α − β log(−γ / ζ)), times `l0_penalty` is added to the
    training losses: a task's own connections to its loss, those between levels in equal parts to all.

    The tap is the last level's output `[E, B, H]`, behind which lies all that is shared.

    Reference: Ma, Zhao, Chen, Li, Hong, Chi, SNR: Sub-Network Routing for Flexible Parameter Sharing in
    Multi-Task Learning, AAAI 2019; the coding variables and their penalty are those of Louizos, Welling,
    Kingma, ICLR 2018, Section 2.2. Departure: there the penalty is added to the sum of the losses, which is
    the same for equal weights only.

    Attributes:
      num_tasks: T.
      num_levels: levels of sub-networks.
      num_experts: E, sub-networks of each level.
      expert_features: units of each sub-network's layers.
      transform: whether connections have matrices W_ij.
      temperature: β; 0.5 to 0.9 in the paper.
      stretch: how far z is stretched beyond [0, 1] before it is clipped; 0.1 to 1 in the paper.
      l0_penalty: λ.
      dtype: dtype of the computation; parameters are float32.
    """

    num_tasks: int
    num_levels: int = 2
    num_experts: int = 4
    expert_features: tuple[int, ...] = (16,)
    transform: bool = True
    temperature: float = 0.9
    stretch: float = 0.1
    l0_penalty: float = 1e-4
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Extracts features.

        Args:
          x: `[B, D]`.
          train: whether connections are sampled, which needs the `dropout` RNG stream.

        Returns:
          `[T, B, H]`.

        Raises:
          InputError: the temperature is 0.
        """
        if not self.temperature:
            raise InputError("snr: temperature is 0, expected a number above it, such as 0.9")
        penalty = jnp.zeros(self.num_tasks)
        for level in range(1, self.num_levels + 1):
            u = StackedMLP((self.num_experts,), self.expert_features, self.dtype, name=f"level{level}")(x)
            last = level == self.num_levels
            if last:
                u = self.perturb("representation", u)
            targets = self.num_tasks if last else self.num_experts
            route = _Routing(
                targets,
                self.transform,
                self.temperature,
                self.stretch,
                self.dtype,
                name="to_tasks" if last else f"route{level}",
            )
            x, connections = route(u, train=train)
            penalty = penalty + (connections if last else jnp.sum(connections) / self.num_tasks)
        self.sow("penalties", "l0", self.l0_penalty * penalty)
        return x


class _Routing(nn.Module):
    """Connections from E sub-networks to I targets; returns `[I, B, H]` and their expected number `[I]`."""

    num_targets: int
    transform: bool
    temperature: float
    stretch: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, u: Array, *, train: bool) -> tuple[Array, Array]:
        count, rows, width = u.shape
        shape = (self.num_targets, count)
        log_alpha = self.param("log_alpha", nn.initializers.zeros, shape, jnp.float32)
        logits = log_alpha
        if train:
            # Away from 0 and 1, where the logarithms are infinite.
            draws = jax.random.uniform(self.make_rng("dropout"), shape, minval=1e-6, maxval=1.0 - 1e-6)
            logits = (jax.scipy.special.logit(draws) + log_alpha) / self.temperature
        z = jnp.clip(jax.nn.sigmoid(logits) * (1.0 + 2.0 * self.stretch) - self.stretch, 0.0, 1.0)
        z = z.astype(self.dtype)
        expected = jax.nn.sigmoid(log_alpha - self.temperature * self._log_ratio())
        if not self.transform:
            return jnp.einsum("ij,jbh->ibh", z, u), jnp.sum(expected, axis=-1)
        # The fan-in of a target is that of all its connections together.
        kernel = self.param("kernel", stacked_init(1), (self.num_targets, count * width, width), jnp.float32)
        scaled = kernel.astype(self.dtype) * jnp.repeat(z, width, axis=1)[:, :, None]
        inputs = jnp.moveaxis(u, 0, 1).reshape(rows, count * width)
        return stacked_matmul(inputs, scaled), jnp.sum(expected, axis=-1)

    def _log_ratio(self) -> float:
        """log(−γ / ζ); without stretch no connection ever is exactly 0, and all are counted."""
        return math.log(self.stretch / (1.0 + self.stretch)) if self.stretch else -math.inf
