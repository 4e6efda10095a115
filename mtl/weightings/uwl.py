"""Uncertainty weighting: learned log-variances as loss weights.

Reference:
  A. Kendall, Y. Gal and R. Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene
  Geometry and Semantics", CVPR 2018, eq. (7) for regressions and eq. (10) with a classification.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, as_jacobian, combine
from mtl.types import Array
from mtl.weightings.contract import check_losses, check_num_tasks, known_false, per_task

LOSS_COEFFICIENT = {"regression": 0.5, "binary": 1.0, "multiclass": 1.0}
"""Coefficient of e^(−s) L by kind of task: ½ comes from the Gaussian likelihood only."""


class UWLState(NamedTuple):
    """State of `uwl`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      log_variances: s = log σ² `[T]` float32, never clamped, never decayed.
      opt_state: state of the optimiser of s.
      average: mean of the weights over the span that `freeze_at` and `average_last` name `[T]`.
      step: updates so far `[]` int32.
    """

    weights: Array
    log_variances: Array
    opt_state: optax.OptState
    average: Array
    step: Array


def uwl(
    num_tasks: int,
    kinds: Sequence[str] | None = None,
    *,
    learning_rate: float = 1e-3,
    optimizer: optax.GradientTransformation | None = None,
    init: float | Sequence[float] = 0.0,
    loss_coefficient: float | Sequence[float] | None = None,
    log_coefficient: float | Sequence[float] = 0.5,
    freeze_at: int | None = None,
    average_last: int = 1000,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Minimises Σ_t c_t e^(−s_t) L_t + b_t s_t over the parameters and over s.

        regression ½ e^(−s) L + ½ s,   classification e^(−s) L + ½ s;   a_t = c_t e^(−s_t)

    At the optimum of s a weight is b_t / L_t. A batch without rows for a task (loss exactly 0) leaves
    its s alone. Cost: one backward pass.

    Args:
      num_tasks: T.
      kinds: kind of each task, `regression`, `binary` or `multiclass`; it sets c_t. None: regression.
      learning_rate: of the Adam that learns s.
      optimizer: another optimiser of s, instead of Adam.
      init: s at the start, one number or T.
      loss_coefficient: c, in place of the kinds' coefficients.
      log_coefficient: b; 1 for the variant that adds s instead of ½ s.
      freeze_at: step from which the weights stay fixed at their mean over the `average_last` steps
        before it; None never freezes. To retrain with the frozen weights, pass `state.average` to
        `static`.
      average_last: length of that span in steps.
      shared: the leaves on which the weights act; None, as in the paper, weighs the whole loss.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `losses=`.

    Raises:
      InputError: an argument is out of range, or a kind is unknown.

    Departures from the paper: the log-variances live in the state with their own optimiser, so that
    weight decay never reaches them; freezing is Meituan's practice, not the paper's.
    """
    check_num_tasks(num_tasks)
    kinds = ("regression",) * num_tasks if kinds is None else tuple(kinds)
    if len(kinds) != num_tasks or any(k not in LOSS_COEFFICIENT for k in kinds):
        raise InputError(f"kinds are {kinds!r}, expected {num_tasks} of {', '.join(LOSS_COEFFICIENT)}")
    defaults = [LOSS_COEFFICIENT[k] for k in kinds]
    coefficient = per_task(
        "loss_coefficient", defaults if loss_coefficient is None else loss_coefficient, num_tasks
    )
    penalty = per_task("log_coefficient", log_coefficient, num_tasks)
    start = per_task("init", init, num_tasks)
    if known_false((coefficient > 0).all() & (penalty > 0).all()):
        raise InputError("loss_coefficient and log_coefficient must be above 0")
    if known_false(learning_rate > 0):
        raise InputError(f"learning_rate is {learning_rate!r}, expected a number above 0")
    if average_last < 1 or (freeze_at is not None and freeze_at < 1):
        raise InputError("freeze_at and average_last count steps and must be at least 1")
    optimizer = optax.adam(learning_rate) if optimizer is None else optimizer

    def init_fn(params):
        del params
        s = jnp.asarray(start, jnp.float32)
        return UWLState(jnp.zeros_like(s), s, optimizer.init(s), jnp.zeros_like(s), jnp.zeros((), jnp.int32))

    def update_fn(updates, state, params=None, *, losses, **extra):
        del params, extra
        losses = check_losses(losses, num_tasks).astype(jnp.float32)
        learned = jnp.asarray(coefficient, jnp.float32) * jnp.exp(-state.log_variances)
        slope = jnp.where(losses == 0, 0.0, jnp.asarray(penalty, jnp.float32) - learned * losses)
        change, opt_state = optimizer.update(slope, state.opt_state, state.log_variances)
        s = optax.apply_updates(state.log_variances, change)
        w, average = learned, state.average
        if freeze_at is not None:
            frozen = state.step >= freeze_at
            # Running mean over the last `average_last` steps before freezing.
            seen = state.step - max(freeze_at - average_last, 0) + 1
            step_mean = average + (learned - average) / jnp.maximum(seen, 1)
            average = jnp.where(frozen | (seen < 1), average, step_mean)
            w = jnp.where(frozen, average, learned)
        # s moves one step behind; a loss that is not finite must show in this step's weights.
        w = jnp.where(jnp.all(jnp.isfinite(losses)), w, jnp.nan)
        new = UWLState(w, s, opt_state, average, optax.safe_increment(state.step))
        return combine(as_jacobian(updates), w, shared), new

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
