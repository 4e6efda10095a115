"""Alternating training: one task at a time.

Reference:
  D. Dong et al., "Multi-Task Learning for Multiple Language Translation", ACL 2015 (a batch of one task after
  another).
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared
from mtl.weightings.contract import check_num_tasks
from mtl.weightings.static import static


def alternating(
    num_tasks: int, *, phase: int | Sequence[int] = 1, shared: Shared = None
) -> optax.GradientTransformationExtraArgs:
    """Trains one task at a time, in turn.

        w_t(k) = 1 if t is the task of step k, else 0

    A phase of 1 alternates from batch to batch; the steps of an epoch, from epoch to epoch. Heads of the
    other tasks get no gradient; so that an optimiser with moments leaves them alone too, see `per_owner`.
    Cost: one backward pass.

    Args:
      num_tasks: T.
      phase: steps that a task is trained before the next one is, one number or T numbers; with 0 a task
        is left out.
      shared: the leaves on which the weights act; None weighs the whole loss, heads included. Others would
        get their own task's gradient in every step.

    Returns:
      A gradient transformation; see `mtl.weightings`. Its state is that of `static`.

    Raises:
      InputError: a phase is no integer or negative, there are not T of them, or all are 0.
    """
    check_num_tasks(num_tasks)
    phases = (phase,) * num_tasks if isinstance(phase, int) else tuple(phase)
    sound = all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n >= 0 for n in phases)
    if len(phases) != num_tasks or not sound or not any(phases):
        raise InputError(
            f"phase is {phase!r}, expected a number of steps, or {num_tasks} of them, ≥ 0 and not all zero"
        )
    ends = np.cumsum(phases)

    def turn(step):
        task = jnp.searchsorted(jnp.asarray(ends, jnp.int32), step % int(ends[-1]), side="right")
        return jnp.asarray(task == jnp.arange(num_tasks), jnp.float32)

    return static(turn, num_tasks, shared=shared)
