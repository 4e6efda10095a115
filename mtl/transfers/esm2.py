"""ESM2: the funnel with a side path, along which the last event happens without the one before."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mtl.errors import InputError
from mtl.layers import Heads
from mtl.transfers.log_odds import mixture
from mtl.transfers.product import multiplied
from mtl.types import Array


class ESM2(nn.Module):
    """Joint probabilities along a funnel with two ways to its last event, in log space.

        y_1 = P(click),   y_2 = P(action | click),   y_3 = P(buy | action),   y_4 = P(buy | no action)
        CTAVR = y_1 y_2,   CVR = y_2 y_3 + (1 − y_2) y_4,   CTCVR = y_1 CVR

    The graph says who is who: `buy` has the parents `click` and `action`, of which it requires `click`
    alone; the parent that is not required (a cart, a wish list) is the action that splits its ways. Each y
    is the sigmoid of a linear output of a tower, y_3 and y_4 those of two heads on the tower of `buy`.
    Losses are those of the joint probabilities over all impressions. Other tasks are multiplied as in
    `Product`.

    Reference: Wen et al., Entire Space Multi-Task Modeling via Post-Click Behavior Decomposition for
      Conversion Rate Prediction, SIGIR 2020, https://arxiv.org/abs/1910.07099.

    Attributes:
      num_outputs: K_t of each task.
      parents: positions of each task's parents.
      requires: positions of all tasks whose events each task's event implies.
      kinds: each task's kind.
    """

    num_outputs: tuple[int, ...]
    parents: tuple[tuple[int, ...], ...]
    requires: tuple[tuple[int, ...], ...]
    kinds: tuple[str, ...]

    NEEDS_REQUIRED: ClassVar[bool] = True

    @nn.compact
    def __call__(self, h: Array, *, train: bool = False) -> Array:
        """Computes the outputs.

        Args:
          h: `[T, B, H]`, the towers' outputs.
          train: not read.

        Returns:
          `[T, B, K_max]` float32; task t uses the first K_t, the others are 0.

        Raises:
          InputError: a task has two parents that could be the action.
        """
        outputs = Heads(self.num_outputs, name="heads")(h)
        actions = {t: self._action(t) for t in range(len(self.parents))}
        if any(action is not None for action in actions.values()):
            without = Heads((1,) * len(self.num_outputs), name="without_action")(h)[..., 0]
            logits = outputs[..., 0]
            ways = [
                logits[t] if action is None else mixture(logits[action], logits[t], without[t])
                for t, action in actions.items()
            ]
            outputs = outputs.at[..., 0].set(jnp.stack(ways))
        return multiplied(outputs, self.requires)

    def _action(self, task: int) -> int | None:
        """The parent that splits the ways to a task's event: binary, not required, with the same past."""
        if not self.requires[task]:
            return None
        found = [
            p
            for p in self.parents[task]
            if self.kinds[p] == "binary"
            and p not in self.requires[task]
            and set(self.requires[p]) <= set(self.requires[task])
        ]
        if len(found) > 1:
            raise InputError(
                f"esm2: task {task} has {len(found)} binary parents that it does not require (tasks "
                f"{', '.join(map(str, found))}); expected at most one, the action that splits its ways"
            )
        return found[0] if found else None
