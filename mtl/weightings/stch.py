"""STCH: smooth Tchebycheff scalarisation, a soft maximum of the losses.

Reference:
  X. Lin et al., "Smooth Tchebycheff Scalarization for Multi-Objective Optimization", ICML 2024, eq. (9);
  the recipe with warm-up and nadir is that of its multi-task experiments.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.errors import InputError, unknown_name
from mtl.jacobian import Shared, combine
from mtl.types import Array
from mtl.weightings.contract import (
    check_losses,
    check_num_tasks,
    check_steps_per_epoch,
    known_false,
    per_task,
    positive,
    sized_jacobian,
)

FORMS = ("log_nadir", "generic")


class STCHState(NamedTuple):
    """State of `stch`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      nadir: mean losses of the last epoch of the warm-up, as far as it has been seen `[T]`.
      step: updates so far `[]` int32.
    """

    weights: Array
    nadir: Array
    step: Array


def stch(
    num_tasks: int,
    *,
    steps_per_epoch: int,
    mu: float = 1.0,
    warmup_epochs: int = 4,
    form: str = "log_nadir",
    preference: float | Sequence[float] | None = None,
    ideal: float | Sequence[float] = 0.0,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Minimises a smooth maximum of the losses.

        log_nadir  Σ_t log L_t for `warmup_epochs` + 1 epochs, then T μ log Σ_t exp(log(L_t / n_t) / μ),
                   n the mean losses of the last of these epochs;   a_t = T softmax_t(·) / L_t
        generic    μ log Σ_t exp(λ_t (L_t − z_t) / μ);              a_t = λ_t softmax_t(·)

    μ → 0 is the largest loss alone, μ → ∞ the sum of the logarithms (`generic`: Σ λ_t L_t). A task
    without rows (loss exactly 0) gets weight 0 in `log_nadir`. Cost: one backward pass.

    Args:
      num_tasks: T.
      steps_per_epoch: updates in an epoch.
      mu: μ > 0; the paper tries 0.01 to 1.
      warmup_epochs: epochs before the one in which the nadir is measured; `log_nadir` only.
      form: one of the two above.
      preference: λ of `generic`, one number or T; None for 1/T.
      ideal: z of `generic`, one number or T.
      shared: the leaves on which the weights act; None, as in the paper, weighs the whole loss.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `losses=`.

    Raises:
      InputError: an argument is out of range.
    """
    check_num_tasks(num_tasks)
    check_steps_per_epoch(steps_per_epoch)
    if form not in FORMS:
        raise unknown_name("STCH form", form, FORMS)
    if known_false(mu > 0):
        raise InputError(f"mu is {mu!r}, expected a number above 0")
    if not warmup_epochs >= 0:
        raise InputError(f"warmup_epochs is {warmup_epochs!r}, expected a count of at least 0")
    lam = per_task("preference", 1.0 / num_tasks if preference is None else preference, num_tasks)
    if known_false((lam > 0).all()):
        raise InputError(f"preference is {preference!r}, expected numbers above 0")
    origin = per_task("ideal", ideal, num_tasks)
    first, last = warmup_epochs * steps_per_epoch, (warmup_epochs + 1) * steps_per_epoch

    def init_fn(params):
        del params
        zero = jnp.zeros((), jnp.int32)
        return STCHState(jnp.zeros(num_tasks, jnp.float32), jnp.zeros(num_tasks, jnp.float32), zero)

    def update_fn(updates, state, params=None, *, losses, **extra):
        del params, extra
        given = check_losses(losses, num_tasks).astype(jnp.float32)
        measuring = (state.step >= first) & (state.step < last)
        nadir = state.nadir + jnp.where(measuring, given / steps_per_epoch, 0.0)
        if form == "generic":
            scale = jnp.asarray(lam, jnp.float32)
            w = scale * jax.nn.softmax(scale * (given - jnp.asarray(origin, jnp.float32)) / mu)
        else:
            values, live = positive(given)
            ratio = jnp.log(values / jnp.where(nadir > 0, nadir, values)) / mu
            soft = jax.nn.softmax(jnp.where(live | ~jnp.any(live), ratio, -jnp.inf))
            factor = jnp.where(state.step < last, 1.0, num_tasks * soft)
            w = jnp.where(live, factor / values, 0.0)
        new = STCHState(w, nadir, optax.safe_increment(state.step))
        return combine(sized_jacobian(updates, num_tasks), w, shared), new

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
