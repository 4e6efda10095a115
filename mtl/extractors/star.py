"""STAR: a network for all scenarios, of which every scenario has its own version."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers import RELU_GAIN, PartitionedNorm, of_domain, stacked_init
from mtl.types import Array


class STAR(nn.Module):
    """Partitioned normalisation, then layers in star form.

        h = ReLU(x (W ⊙ W_p) + b + b_p),   p the row's scenario

    The shared W and b are trained by all rows, W_p and b_p by the rows of scenario p alone; W_p starts at 1
    and b_p at 0, so that all scenarios start as one network. All tasks get the same features. Scenario 0,
    which training has not seen, is served by the shared part alone. The paper's auxiliary network is the
    side tower `domain`.

    The tap is the last layer's output `[B, H]`: all parameters but the towers' lie behind it.

    Reference: Sheng et al., One Model to Serve All: Star Topology Adaptive Recommender for Multi-Domain CTR
      Prediction, CIKM 2021, https://arxiv.org/abs/2101.11427.

    Departures: batches may mix scenarios; several tasks; the output layer is the towers', common to all
      scenarios.

    Attributes:
      num_tasks: T.
      num_domains: S, the unseen scenario 0 included.
      star_features: units of each layer.
      normalise: whether inputs are normalised per scenario, see `PartitionedNorm`.
      momentum: of the running statistics.
      least_rows: rows of a scenario that a batch must hold for its own statistics to be used.
      dtype: dtype of the computation; parameters are float32.
    """

    num_tasks: int
    num_domains: int
    star_features: tuple[int, ...] = (32,)
    normalise: bool = True
    momentum: float = 0.9
    least_rows: int = 8
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def common(self, x: Array, *, domain: Array, train: bool = False) -> Array:
        """Extracts features once: `[B, D] → [B, H]`, what every task gets."""
        if self.normalise:
            norm = PartitionedNorm(self.num_domains, self.momentum, self.least_rows, self.dtype, name="norm")
            x = norm(x, domain, train=train)
        for i, units in enumerate(self.star_features):
            x = _StarLayer(self.num_domains, units, self.dtype, name=f"star{i}")(x, domain)
        return self.perturb("representation", x)

    def __call__(self, x: Array, *, domain: Array, train: bool = False) -> Array:
        """Extracts features.

        Args:
          x: `[B, D]`.
          domain: scenarios `[B]`.
          train: whether the normalisation reads and renews its statistics from the batch.

        Returns:
          `[T, B, H]`, T times the same.
        """
        h = self.common(x, domain=domain, train=train)
        return jnp.broadcast_to(h, (self.num_tasks, *h.shape))


class _StarLayer(nn.Module):
    """One layer, `[B, m] → [B, n]`."""

    num_domains: int
    features: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Array, domain: Array) -> Array:
        own, ones, zeros = self.num_domains - 1, nn.initializers.ones, nn.initializers.zeros
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", stacked_init(0, RELU_GAIN), shape, jnp.float32)
        bias = self.param("bias", zeros, shape[1:], jnp.float32)
        domain_kernel = self.param("domain_kernel", ones, (own, *shape), jnp.float32)
        domain_bias = self.param("domain_bias", zeros, (own, *shape[1:]), jnp.float32)
        # Scenario 0 has no part of its own.
        kernels = jnp.concatenate([kernel[None], kernel * domain_kernel]).astype(self.dtype)
        biases = jnp.concatenate([bias[None], bias + domain_bias]).astype(self.dtype)
        outputs = jax.lax.dot_general(x.astype(self.dtype), kernels, (((1,), (1,)), ((), ())))
        return nn.relu(of_domain(jnp.moveaxis(outputs, 0, 1), domain) + biases[domain])
