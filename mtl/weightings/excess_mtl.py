"""ExcessMTL: weights that grow with the estimated excess risk of a task, robust to label noise.

Reference:
  Y. He et al., "Robust Multi-Task Learning with Excess Risks", ICML 2024, eqs. (4)–(6) and Algorithm 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, StackedJacobian, combine, shared_leaves, shared_mask
from mtl.types import Array, PyTree
from mtl.weightings.contract import check_num_tasks, known_false, sized_jacobian
from mtl.weightings.history import map_shared, zeros_per_task


class ExcessMTLState(NamedTuple):
    """State of `excess_mtl`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      logits: log w up to a constant `[T]`.
      first: ê at the first step in which a task had a gradient `[T]`; 0 until then.
      history: √S, root of the sum of squared gradients, per shared leaf `[T, *shape]`.
    """

    weights: Array
    logits: Array
    first: Array
    history: PyTree


def excess_mtl(
    num_tasks: int, *, step_size: float = 1e-2, shared: Shared = None
) -> optax.GradientTransformationExtraArgs:
    """Weighs by exponentiated gradient on the excess risk, estimated with AdaGrad's diagonal Hessian.

        S ← S + g ⊙ g;   ê_i = Σ_p g²_ip / √S_ip;   e_i = ê_i / ê_i(first step)
        w ← normalise(w e^(ηe)),   a = T w;   the first step has w = 1/T and leaves it

    A task with a zero gradient leaves its weight alone, up to the common factor. Cost: T backward passes,
    memory T times the shared leaves.

    Args:
      num_tasks: T.
      step_size: η; 1e-2 in the authors' code and LibMTL, 1 in TorchJD.
      shared: the leaves whose gradients count and on which the weights act; the others get their own
        task's gradient.

    Returns:
      A gradient transformation; see `mtl.weightings`.

    Raises:
      InputError: an argument is out of range.

    Departures from the authors' code: where S is 0 the term is 0, and nothing (1e-7) is added below the
    root, so that common scales of the gradients play no role; private leaves are not weighted.
    """
    check_num_tasks(num_tasks)
    if known_false(step_size >= 0):
        raise InputError(f"step_size is {step_size!r}, expected a number ≥ 0")

    def init_fn(params):
        return ExcessMTLState(
            weights=jnp.zeros(num_tasks, jnp.float32),
            logits=jnp.zeros(num_tasks, jnp.float32),
            first=jnp.zeros(num_tasks, jnp.float32),
            history=zeros_per_task(params, num_tasks, shared),
        )

    def update_fn(updates, state, params=None, **extra):
        del params, extra
        jac = sized_jacobian(updates, num_tasks)
        stacked = jac.stacked()
        mask = shared_mask(stacked, shared)
        # Roots are kept, because the squares of small gradients underflow.
        history = map_shared(lambda s, g: jnp.hypot(s, g.astype(s.dtype)), mask, state.history, stacked)
        pairs = zip(shared_leaves(stacked, shared), shared_leaves(history, shared), strict=True)
        risk = sum((_risk(g, s) for g, s in pairs), start=jnp.zeros(()))
        first = jnp.where(state.first == 0, risk, state.first)
        counted = (state.first != 0) & (risk != 0)
        gain = jnp.where(counted, step_size * risk / jnp.where(first != 0, first, 1.0), 0.0)
        logits = state.logits + gain
        logits = logits - jnp.max(logits)
        weights = num_tasks * jax.nn.softmax(logits)
        weights = jnp.where(jnp.all(jnp.isfinite(risk)), weights, jnp.nan)
        update = (
            StackedJacobian(stacked).pullback(weights) if shared is None else combine(jac, weights, shared)
        )
        narrow = jnp.float32
        return update, ExcessMTLState(
            weights.astype(narrow), logits.astype(narrow), first.astype(narrow), history
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _risk(gradients: Array, roots: Array) -> Array:
    """Σ_p g² / √S for every task `[T]`, given √S."""
    g = gradients.astype(roots.dtype)
    terms = jnp.where(roots == 0, 0.0, jnp.abs(g) * (jnp.abs(g) / jnp.where(roots == 0, 1.0, roots)))
    return jnp.sum(terms, axis=range(1, terms.ndim))
