"""Static weights: the linear scalarisation that every other method has to beat.

References:
  V. Kurin et al., "In Defense of the Unitary Scalarization for Deep Multi-Task Learning", NeurIPS 2022.
  H. Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, Section 4.3 (geometric schedule).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, as_jacobian, combine
from mtl.types import Array
from mtl.weightings.contract import check_num_tasks, known_false, per_task


class StaticState(NamedTuple):
    """State of `static`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      step: updates so far, `[]` int32.
    """

    weights: Array
    step: Array


def static(
    weights: float | Sequence[float] | Callable[[Array], Array] = 1.0,
    num_tasks: int | None = None,
    *,
    decay: float | Sequence[float] = 1.0,
    decay_steps: int = 1,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Minimises Σ_t w_t L_t with weights that are fixed or follow a schedule.

        w_t(k) = w_t γ_t^(k / decay_steps)      (or any optax schedule)

    Cost: one backward pass.

    Args:
      weights: one number for all tasks, T numbers, or a schedule that maps the step to `[T]` (or to a
        number for all tasks).
      num_tasks: T; needed when `weights` does not tell it.
      decay: γ, one number or T numbers, in (0, ∞).
      decay_steps: steps per unit of the exponent (the steps of an epoch decay once an epoch).
      shared: the leaves on which the weights act. The default, None, weighs the whole loss, heads
        included, which is what a scalarisation means.

    Returns:
      A gradient transformation; see `mtl.weightings`.

    Raises:
      InputError: lengths disagree, a weight is negative or not finite, all weights are zero, γ ≤ 0.
    """
    if callable(weights):
        check_num_tasks(num_tasks)
        size = int(num_tasks or 0)
        schedule = weights
    else:
        if num_tasks is None and isinstance(weights, int | float):
            raise InputError("static(weights=<a number>) also needs num_tasks")
        values = per_task("weights", weights, num_tasks)
        size = len(values)
        if known_false((values >= 0).all() & values.any()):
            raise InputError(f"weights are {weights!r}, expected numbers ≥ 0, not all of them zero")
        schedule = lambda _: jnp.asarray(values, jnp.float32)  # noqa: E731
    gamma = per_task("decay", decay, size)
    if known_false((gamma > 0).all()):
        raise InputError(f"decay is {decay!r}, expected factors above 0")
    if not isinstance(decay_steps, int) or decay_steps < 1:
        raise InputError(f"decay_steps is {decay_steps!r}, expected an integer of at least 1")

    def weights_at(step):
        factor = jnp.asarray(gamma, jnp.float32) ** (step / decay_steps)
        return jnp.broadcast_to(jnp.asarray(schedule(step), jnp.float32), (size,)) * factor

    def init_fn(params):
        del params
        return StaticState(jnp.zeros(size, jnp.float32), jnp.zeros((), jnp.int32))

    def update_fn(updates, state, params=None, **extra):
        del params, extra
        w = weights_at(state.step)
        update = combine(as_jacobian(updates), w, shared)
        return update, StaticState(w, optax.safe_increment(state.step))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
