"""KL bound: a direct prediction and a product of conditional ones, held together."""

from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl.layers import Heads
from mtl.transfers.log_odds import conjunction
from mtl.types import Array


class KLBound(nn.Module):
    """A joint and a conditional probability for every event that requires others, bound by a divergence.

        P(y_t) = σ(o_t), trained on all rows;   P(y_t | required) = σ(c_t), trained where required happened
        L_t ← L_t + mean CE(c_t, y_t | required happened) + λ mean_b [KL(p ‖ q) + KL(q ‖ p)],
        p = Bernoulli(σ(o_t)),   q = Bernoulli(σ(c_t) Π_{r required by t} σ(c_r))

    Both are linear outputs of tower t; for a task that requires none c_t = o_t. Where the required event did
    not happen the conditional rate has no label: there the divergence estimates it, from the joint
    probability that all rows supervise. It is taken in both directions because it is not symmetric. The
    model's output is the joint logit o_t.

    Reference: Meituan's technical blog, Deep Learning in the Ranking of Meituan's Recommendation Platform,
      2018, for the bound (in both directions) on P(click) · P(conversion) and P(order). It prints no formula
      for the missing labels; this is the reading above.

    Attributes:
      num_outputs: K_t of each task.
      requires: positions of all tasks whose events each task's event implies.
      bound: λ.
    """

    num_outputs: tuple[int, ...]
    requires: tuple[tuple[int, ...], ...]
    bound: float = 0.5

    NEEDS_REQUIRED: ClassVar[bool] = True
    supervise: ClassVar[Literal["both"]] = "both"

    @nn.compact
    def __call__(self, h: Array, *, train: bool = False) -> Array:
        """Computes the outputs.

        Args:
          h: `[T, B, H]`, the towers' outputs.
          train: whether the conditional logits are sown in `conditionals`, and the divergence in `penalties`.

        Returns:
          `[T, B, K_max]` float32, joint logits; task t uses the first K_t, the others are 0.
        """
        outputs = Heads(self.num_outputs, name="heads")(h)
        own = Heads((1,) * len(self.num_outputs), name="conditional")(h)[..., 0]
        if not train or not any(self.requires):
            return outputs
        joint = outputs[..., 0]
        given = jnp.stack([own[t] if found else joint[t] for t, found in enumerate(self.requires)])
        bounds = [
            jnp.mean(_divergence(joint[t], conjunction([*(given[r] for r in found), given[t]])))
            if found
            else jnp.zeros(())
            for t, found in enumerate(self.requires)
        ]
        self.sow("conditionals", "logits", given)
        self.sow("penalties", "bound", self.bound * jnp.stack(bounds))
        return outputs


def _divergence(a: Array, b: Array) -> Array:
    """KL(p ‖ q) + KL(q ‖ p) of Bernoulli variables with logits a and b, which is (σ(a) − σ(b)) (a − b)."""
    return (jax.nn.sigmoid(a) - jax.nn.sigmoid(b)) * (a - b)
