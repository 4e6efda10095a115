"""GradNorm: weights learned so that the tasks' gradients have lengths that match their training rates.

Reference:
  Z. Chen et al., "GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks",
  ICML 2018, eqs. (1)–(2) and Algorithm 1.
"""

from typing import NamedTuple

import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared
from mtl.types import Array
from mtl.weightings.contract import balance, check_losses, check_num_tasks, known_false


class GradNormState(NamedTuple):
    """State of `gradnorm`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      learned: w for the next step `[T]`, Σw = T.
      opt_state: state of the optimiser of w.
      first_losses: L(0) `[T]`; 0 until a task has had rows.
    """

    weights: Array
    learned: Array
    opt_state: optax.OptState
    first_losses: Array


def gradnorm(
    num_tasks: int,
    *,
    alpha: float = 1.5,
    learning_rate: float = 0.025,
    optimizer: optax.GradientTransformation | None = None,
    tap: bool = False,
    shared: Shared = None,
) -> optax.GradientTransformationExtraArgs:
    """Learns w that minimises Σ_i |w_i d_i − mean_j(w_j d_j) r_i^α|, the second term held constant.

        r_i = (L_i / L_i(0)) / mean_j(L_j / L_j(0));   ∂/∂w_i = sign(n_i − t_i) d_i;   w ← T w / Σw

    A step uses the weights from before its own step of w. A batch without rows for a task (loss or
    gradient exactly 0) leaves its weight alone, up to the common factor. Cost: T backward passes; with a
    tap T through the heads and one full.

    Args:
      num_tasks: T.
      alpha: α ≥ 0, how strongly slow tasks are pulled; 1.5 on NYUv2, .12 in the paper's toy problem.
      learning_rate: of the Adam that learns w.
      optimizer: another optimiser of w, instead of Adam.
      tap: read the norms at the tap of `task_jacobian`; the paper takes those of the last shared layer.
      shared: the leaves on which the norms are taken and the weights act; the others get their own task's
        gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `losses=`.

    Raises:
      InputError: an argument is out of range.

    Departures from the paper: norms over all shared leaves unless `tap` or `shared` says otherwise; the
    gradient of w is divided by the mean d, which under Adam changes nothing but the role of its ε; w has
    a floor of 0.
    """
    check_num_tasks(num_tasks)
    if known_false(alpha >= 0):
        raise InputError(f"alpha is {alpha!r}, expected a number ≥ 0")
    if known_false(learning_rate > 0):
        raise InputError(f"learning_rate is {learning_rate!r}, expected a number above 0")
    optimizer = optax.adam(learning_rate) if optimizer is None else optimizer

    def init_fn(params):
        del params
        learned = jnp.ones(num_tasks, jnp.float32)
        zeros = (jnp.zeros(num_tasks, jnp.float32) for _ in range(2))
        return GradNormState(next(zeros), learned, optimizer.init(learned), next(zeros))

    def update_fn(updates, state, params=None, *, losses, **extra):
        del params, extra
        losses = check_losses(losses, num_tasks).astype(jnp.float32)
        first = jnp.where(state.first_losses == 0, losses, state.first_losses)
        w = state.learned

        def solve(gramian):
            finite = jnp.all(jnp.isfinite(gramian)) & jnp.all(jnp.isfinite(losses))
            norms = jnp.sqrt(jnp.maximum(jnp.diagonal(gramian), 0.0))
            return jnp.where(finite, w.astype(gramian.dtype), jnp.nan), norms

        update, (weights, norms) = balance(updates, solve, shared, num_tasks=num_tasks, tap=tap)
        live = (norms > 0) & (losses != 0)
        count = jnp.maximum(jnp.sum(live), 1)

        def mean(x):
            return jnp.sum(jnp.where(live, x, 0.0)) / count

        size = mean(norms)
        d = jnp.where(live, norms / jnp.where(size > 0, size, 1.0), 0.0).astype(jnp.float32)
        ratio = jnp.where(live, losses / jnp.where(first != 0, first, 1.0), 0.0)
        average = mean(ratio)
        rate = ratio / jnp.where(average != 0, average, 1.0)
        target = mean(w * d) * rate**alpha
        slope = jnp.where(live, jnp.sign(w * d - target) * d, 0.0)
        change, opt_state = optimizer.update(slope, state.opt_state, w)
        moved = jnp.maximum(optax.apply_updates(w, change), 0.0)
        total = jnp.sum(moved)
        learned = jnp.where(total > 0, num_tasks * moved / jnp.where(total > 0, total, 1.0), w)
        return update, GradNormState(weights.astype(jnp.float32), learned, opt_state, first)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
