"""Partitioned normalisation: batch normalisation with the statistics of a row's own scenario (STAR)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.types import Array, widened

EPSILON = 1e-5
"""Added to variances."""
CONSTANT = 1e-8
"""Variance below which an input counts as constant within a scenario: no more than rounding."""


class PartitionedNorm(nn.Module):
    """Normalises every row with the statistics of its scenario p and shared × own scale and shift.

        z' = (γ ⊙ γ_p) (x − μ_p) / √(σ_p² + ε) + (β + β_p)

    In training μ_p and σ_p² are those of the scenario's rows in the batch, if there are at least
    `least_rows` of them, and its running statistics, which serving reads, follow them: r ← m r + (1 − m)
    batch. With fewer rows the running statistics normalise as they are and stay as they are; a scenario
    absent from a batch changes nothing and gives no NaN. The first batch of a scenario sets its running
    statistics. Scenario 0, which training has not seen, has the shared scale and shift, and statistics of
    the mixture of all scenarios seen, in equal parts; before any was seen rows pass unchanged.

    An input that is constant within a scenario (variance below `CONSTANT`), such as the embedding of the
    scenario itself, becomes 0 before scale and shift. Batch statistics make it 0 in any case; running ones
    would instead divide by √ε how far their mean lags behind the embedding, about 300 times that.

    Reference: Sheng et al., One Model to Serve All: Star Topology Adaptive Recommender for Multi-Domain CTR
      Prediction, CIKM 2021, https://arxiv.org/abs/2101.11427, partitioned normalisation. The paper
      normalises batches of one scenario each; here a batch may mix them.

    Attributes:
      num_domains: S, the unseen scenario 0 included.
      momentum: m.
      least_rows: rows of a scenario that a batch must hold for its own statistics to be used.
      dtype: dtype of the result; statistics are float32.
    """

    num_domains: int
    momentum: float = 0.9
    least_rows: int = 8
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, domain: Array, *, train: bool = False) -> Array:
        """Normalises rows.

        Args:
          x: `[B, D]`.
          domain: scenarios `[B]` in [0, S).
          train: whether batch statistics are used; the collection `batch_stats` is then renewed if it is
            mutable.

        Returns:
          `[B, D]` in `dtype`.
        """
        shape = (self.num_domains, x.shape[-1])
        x = widened(x)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        seen = self.variable("batch_stats", "seen", jnp.zeros, (self.num_domains, 1), jnp.float32)
        scale = self.param("scale", nn.initializers.ones, shape[1:], jnp.float32)
        shift = self.param("shift", nn.initializers.zeros, shape[1:], jnp.float32)
        own_scale = self.param("domain_scale", nn.initializers.ones, shape, jnp.float32)
        own_shift = self.param("domain_shift", nn.initializers.zeros, shape, jnp.float32)

        centre, spread = _with_unseen(mean.value, var.value, seen.value)
        if train:
            rows = jax.nn.one_hot(domain, self.num_domains, dtype=jnp.float32)
            count = jnp.sum(rows, axis=0)[:, None]
            batch_mean = rows.T @ x / jnp.maximum(count, 1.0)
            batch_var = rows.T @ jnp.square(x - batch_mean[domain]) / jnp.maximum(count, 1.0)
            enough = (count >= self.least_rows) & (jnp.arange(self.num_domains)[:, None] > 0)
            if self.is_mutable_collection("batch_stats") and not self.is_initializing():
                kept = jnp.where(seen.value > 0, self.momentum, 0.0)
                mean.value = jnp.where(enough, kept * mean.value + (1.0 - kept) * batch_mean, mean.value)
                var.value = jnp.where(enough, kept * var.value + (1.0 - kept) * batch_var, var.value)
                seen.value = jnp.where(enough, 1.0, seen.value)
            centre, spread = jnp.where(enough, batch_mean, centre), jnp.where(enough, batch_var, spread)
        factor = jnp.where(spread < CONSTANT, 0.0, jax.lax.rsqrt(spread + EPSILON))
        z = (x - centre[domain]) * factor[domain]
        # Scenario 0 is no scenario: its own scale and shift stay at their start whatever trains.
        trained = (domain > 0)[:, None]
        scale = scale * jnp.where(trained, own_scale[domain], 1.0)
        shift = shift + jnp.where(trained, own_shift[domain], 0.0)
        return (z * scale + shift).astype(self.dtype)


def _with_unseen(mean: Array, var: Array, seen: Array) -> tuple[Array, Array]:
    """Gives scenarios not seen so far the mean and variance of the mixture of those seen, in equal parts."""
    count = jnp.maximum(jnp.sum(seen), 1.0)
    centre = jnp.sum(seen * mean, axis=0) / count
    spread = jnp.sum(seen * (var + jnp.square(mean - centre)), axis=0) / count
    spread = jnp.where(jnp.sum(seen) > 0, spread, 1.0)
    return jnp.where(seen > 0, mean, centre), jnp.where(seen > 0, var, spread)
