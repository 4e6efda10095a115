"""Step-length normalisation, so that a comparison of weightings is not one of learning rates."""

import jax
import jax.numpy as jnp
import optax

from mtl.errors import unknown_name
from mtl.jacobian import Shared, as_jacobian, shared_mask
from mtl.types import Array, PyTree

NORMALIZATIONS = ("none", "sum_one", "mean_norm")


def normalized(
    weighting: optax.GradientTransformationExtraArgs, how: str, shared: Shared = None
) -> optax.GradientTransformationExtraArgs:
    """Rescales what a weighting does to the shared leaves to a common step length.

        none        as the method's paper has it
        sum_one     a / Σ_t |a_t|
        mean_norm   ‖Jᵀa‖ = ‖(1/T) Σ_t g_t‖, the step of equal weights; one more backward pass

    Args:
      weighting: a weighting; its state must have `weights`.
      how: one of the three.
      shared: the leaves on which the weighting acts, as it was given to the weighting.

    Returns:
      A weighting with the same state, whose `weights` are the rescaled ones.

    Raises:
      InputError: `how` is not one of the three.
    """
    if how not in NORMALIZATIONS:
        raise unknown_name("normalization", how, NORMALIZATIONS)
    if how == "none":
        return weighting

    def update_fn(updates, state, params=None, **extra):
        jac = as_jacobian(updates)
        update, state = weighting.update(jac, state, params, **extra)
        mask = shared_mask(update, shared)
        if how == "sum_one":
            scale = _inverse(jnp.sum(jnp.abs(state.weights)))
        else:
            equal = jnp.full(jac.num_tasks, 1.0 / jac.num_tasks)
            scale = _norm(jac.pullback(equal), mask) * _inverse(_norm(update, mask))
        update = jax.tree.map(lambda u, keep: (u * scale).astype(u.dtype) if keep else u, update, mask)
        return update, state._replace(weights=state.weights * scale)

    return optax.GradientTransformationExtraArgs(weighting.init, update_fn)


def _norm(tree: PyTree, mask: PyTree) -> Array:
    kept = jax.tree.map(lambda x, keep: x if keep else jnp.zeros((), x.dtype), tree, mask)
    return optax.tree.norm(jax.tree.map(lambda x: x.astype(jnp.float32), kept))


def _inverse(x: Array) -> Array:
    return jnp.where(x == 0, 1.0, 1.0 / jnp.where(x == 0, 1.0, x))
