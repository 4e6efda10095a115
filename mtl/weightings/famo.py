"""FAMO: weights that keep the slowest relative improvement of all losses high, from losses alone.

Reference:
  B. Liu et al., "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023, Algorithm 1, eqs. (10)–(12).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, combine
from mtl.types import Array
from mtl.weightings.contract import check_losses, check_num_tasks, known_false, per_task, sized_jacobian


class FAMOState(NamedTuple):
    """State of `famo`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      logits: ξ, whose softmax is z `[T]`.
      opt_state: state of the optimiser of ξ.
      log_losses: log D of the last batch before the step `[T]`.
      observed: losses of that batch after the step `[T]`, put in by `observe`; NaN until then.
      step: updates so far `[]` int32.
    """

    weights: Array
    logits: Array
    opt_state: optax.OptState
    log_losses: Array
    observed: Array
    step: Array


def famo(
    num_tasks: int,
    *,
    learning_rate: float = 0.025,
    decay: float = 1e-3,
    minimum: float | Sequence[float] = 0.0,
    optimizer: optax.GradientTransformation | None = None,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Weighs every loss by its share z_t over its value, and learns z from how much each loss fell.

        z = softmax(ξ),   D = L − b,   a_t = (z_t / D_t) / Σ_j (z_j / D_j);   Σa = 1
        δ = log D(θ_k) − log D(θ_{k+1})  on the same batch;   ξ ← Adam(ξ, (diag z − zzᵀ) δ + γξ)

    It needs the losses of the same batch after the step. Call `state = observe(state, losses_after)`
    between updates, one more forward pass; without it the next weights are NaN. A task without rows
    (D = 0) takes no part in a batch. Cost: one backward pass and two forward passes.

    Args:
      num_tasks: T.
      learning_rate: of the Adam that learns ξ.
      decay: γ, added to the gradient of ξ as γξ. The paper and its scripts have 1e-3; other files of its
        repository 1e-2 and 1e-5.
      minimum: b, a lower bound of each loss; one number or T.
      optimizer: another optimiser of ξ, instead of Adam.
      shared: the leaves on which the weights act; None, as in the paper, weighs the whole loss.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `losses=`.

    Raises:
      InputError: an argument is out of range.

    Departures from the paper: D has no 1e-8 added, which would be no small number beside small losses;
    the step of ξ is taken at the beginning of the next update, when its gradient is known.
    """
    check_num_tasks(num_tasks)
    bound = per_task("minimum", minimum, num_tasks)
    if known_false(learning_rate > 0) or known_false(decay >= 0):
        raise InputError(
            f"learning_rate is {learning_rate!r} and decay is {decay!r}, expected above 0 and at least 0"
        )
    optimizer = optax.adam(learning_rate) if optimizer is None else optimizer

    def log_excess(losses):
        excess = losses - jnp.asarray(bound, jnp.float32)
        live = excess != 0  # a loss below its bound has no logarithm, and the NaN must show
        return jnp.log(jnp.where(live, excess, 1.0)), live

    def init_fn(params):
        del params
        logits = jnp.zeros(num_tasks, jnp.float32)
        return FAMOState(
            weights=jnp.zeros(num_tasks, jnp.float32),
            logits=logits,
            opt_state=optimizer.init(logits),
            log_losses=jnp.zeros(num_tasks, jnp.float32),
            observed=jnp.full(num_tasks, jnp.nan, jnp.float32),
            step=jnp.zeros((), jnp.int32),
        )

    def update_fn(updates, state, params=None, *, losses, **extra):
        del params, extra
        after, had_rows = log_excess(state.observed)
        fall = jnp.where(had_rows, state.log_losses - after, 0.0)
        z = jax.nn.softmax(state.logits)
        slope = z * (fall - z @ fall) + decay * state.logits
        change, opt_state = optimizer.update(slope, state.opt_state, state.logits)
        begun = state.step > 0
        logits = jnp.where(begun, state.logits + change, state.logits)
        opt_state = jax.tree.map(lambda new, old: jnp.where(begun, new, old), opt_state, state.opt_state)
        log_losses, live = log_excess(check_losses(losses, num_tasks).astype(jnp.float32))
        # softmax over tasks with rows of log z − log D, which is (z/D) / Σ (z/D) without overflow
        share = jnp.where(live, jax.nn.log_softmax(logits) - log_losses, -jnp.inf)
        w = jnp.where(jnp.any(live), jax.nn.softmax(jnp.where(jnp.any(live), share, 0.0)), 0.0)
        w = jnp.where(jnp.all(jnp.isfinite(log_losses)), w, jnp.nan)
        new = FAMOState(
            weights=w,
            logits=logits,
            opt_state=opt_state,
            log_losses=log_losses,
            observed=jnp.full_like(state.observed, jnp.nan),
            step=optax.safe_increment(state.step),
        )
        return combine(sized_jacobian(updates, num_tasks), w, shared), new

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
