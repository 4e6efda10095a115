"""Separate domains: a network for every scenario, which share nothing."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers import StackedMLP, of_domain, tap_common
from mtl.types import Array


class SeparateDomains(nn.Module):
    """Every scenario p has a network, whose features have places of their own, `h = [0 … MLP_p(x) … 0]`.

    A tower's first layer so has other weights for every scenario too. With `tower_features=()` that is the
    output layer, and scenarios share nothing but its bias and the encoder's tables: the baseline of what
    scenarios gain by being trained together. Scenario 0, which training has not seen, has a network like the
    others, untrained; its predictions mean nothing.

    The tap is `[B, S·H]`, all networks' places.

    Attributes:
      num_tasks: T.
      num_domains: S, the unseen scenario 0 included.
      bottom_features: units of each layer of a network.
      dtype: dtype of the computation; parameters are float32.
      remat: whether what lies inside the networks is computed anew for gradients, see `StackedMLP`.
    """

    num_tasks: int
    num_domains: int
    bottom_features: tuple[int, ...] = (32,)
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @nn.compact
    def common(self, x: Array, *, domain: Array, train: bool = False) -> Array:
        """Extracts features once: `[B, D] → [B, S·H]`, what every task gets."""
        del train
        networks = StackedMLP(
            (self.num_domains,), self.bottom_features, self.dtype, self.remat, name="bottoms"
        )(x)
        own = of_domain(networks, domain)
        places = jax.nn.one_hot(domain, self.num_domains, dtype=self.dtype)
        h = (places[:, :, None] * own[:, None, :]).reshape(len(own), -1)
        return self.perturb("representation", h)

    def __call__(self, x: Array, *, domain: Array, train: bool = False) -> Array:
        """Extracts features.

        Args:
          x: `[B, D]`.
          domain: scenarios `[B]`.
          train: not read.

        Returns:
          `[T, B, S·H]`, T times the same.
        """
        h = self.common(x, domain=domain, train=train)
        return tap_common(self, h, self.num_tasks)
