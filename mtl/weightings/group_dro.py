"""Group DRO over tasks: exponentiated-gradient ascent on the weights of the largest losses.

Reference:
  S. Sagawa et al., "Distributionally Robust Neural Networks for Group Shifts", ICLR 2020, Algorithm 1,
  with tasks in place of groups, as in the comparisons of ExcessMTL (He et al., ICML 2024).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, combine
from mtl.types import Array
from mtl.weightings.contract import check_losses, check_num_tasks, known_false, sized_jacobian


class GroupDROState(NamedTuple):
    """State of `group_dro`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      logits: log w up to a constant `[T]`.
    """

    weights: Array
    logits: Array


def group_dro(
    num_tasks: int, *, step_size: float = 1e-2, shared: Shared = None
) -> optax.GradientTransformationExtraArgs:
    """Moves weight to the tasks with large losses: w ← normalise(w e^(ηL)), a = T w.

    The weights of a step use its own losses. Losses on different scales need normalising first: the
    method takes them at face value. Cost: one backward pass.

    Args:
      num_tasks: T.
      step_size: η.
      shared: the leaves on which the weights act; None weighs the whole loss.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `losses=`.

    Raises:
      InputError: an argument is out of range.
    """
    check_num_tasks(num_tasks)
    if known_false(step_size >= 0):
        raise InputError(f"step_size is {step_size!r}, expected a number ≥ 0")

    def init_fn(params):
        del params
        return GroupDROState(*(jnp.zeros(num_tasks, jnp.float32) for _ in range(2)))

    def update_fn(updates, state, params=None, *, losses, **extra):
        del params, extra
        losses = check_losses(losses, num_tasks).astype(jnp.float32)
        logits = state.logits + step_size * losses
        logits = logits - jnp.max(logits)
        w = num_tasks * jax.nn.softmax(logits)
        return combine(sized_jacobian(updates, num_tasks), w, shared), GroupDROState(w, logits)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
