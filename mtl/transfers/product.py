"""Product: probabilities of events that imply each other are multiplied (ESMM)."""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp

from mtl.layers import Heads
from mtl.transfers.log_odds import conjunction
from mtl.types import Array


class Product(nn.Module):
    """Joint probabilities along the funnel, `P(y_t) = σ(a_t) Π_{r required by t} σ(a_r)`.

    a_t is the linear output of tower t: for a task that requires others the logit of its conditional
    probability, which for a purchase after a click is the conversion rate pCVR. The model's output is the
    logit of the joint probability (pCTCVR = pCTR · pCVR), so that its loss runs over all impressions and the
    conditional rate has none of its own. Tasks that require none keep their own logits. All of it is computed
    in log space.

    With `supervise="conditional"` the same network is trained the usual way instead: a conditional
    probability by its own loss, on the rows where what it requires has happened. It then has never seen the
    others, which is the sample selection bias that the product avoids. The output is the same.

    Reference: Ma et al., Entire Space Multi-Task Model: An Effective Approach for Estimating Post-Click
      Conversion Rate, SIGIR 2018, https://arxiv.org/abs/1804.07931, Eq. 1 and 2, for one required event.

    Departures: tasks of any kind and longer funnels; every event on the way contributes its factor once.

    Attributes:
      num_outputs: K_t of each task.
      requires: positions of all tasks whose events each task's event implies.
      supervise: `joint` (ESMM) or `conditional` (the rows after the event only).
    """

    num_outputs: tuple[int, ...]
    requires: tuple[tuple[int, ...], ...]
    supervise: Literal["joint", "conditional"] = "joint"

    NEEDS_REQUIRED: ClassVar[bool] = True

    @nn.compact
    def __call__(self, h: Array, *, train: bool = False) -> Array:
        """Computes the outputs.

        Args:
          h: `[T, B, H]`, the towers' outputs.
          train: whether conditional logits are sown in `conditionals`, for `supervise="conditional"`.

        Returns:
          `[T, B, K_max]` float32; task t uses the first K_t, the others are 0.
        """
        outputs = Heads(self.num_outputs, name="heads")(h)
        if train and self.supervise == "conditional":
            self.sow("conditionals", "logits", outputs[..., 0])
        return multiplied(outputs, self.requires)


def multiplied(outputs: Array, requires: tuple[tuple[int, ...], ...]) -> Array:
    """Turns conditional logits into joint ones.

    Args:
      outputs: `[T, B, K_max]`; of a task that requires others the first is its conditional logit.
      requires: positions of all tasks whose events each task's event implies.

    Returns:
      The outputs `[T, B, K_max]`, with joint logits for these tasks.
    """
    logits = outputs[..., 0]
    joint = [conjunction([*(logits[r] for r in found), logits[t]]) for t, found in enumerate(requires)]
    return outputs.at[..., 0].set(jnp.stack(joint))
