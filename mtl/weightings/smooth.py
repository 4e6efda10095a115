"""Smoothing of any method's weights over the steps.

Reference:
  S. Zhou et al., "On the Convergence of Stochastic Multi-Objective Gradient Manipulation and Beyond"
  (CR-MOGM), NeurIPS 2022, eq. (4).
"""

import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, combine
from mtl.weightings.contract import is_traced, known_false, sized_jacobian


def smoothed(
    weighting: optax.GradientTransformationExtraArgs, decay: float, shared: Shared = None
) -> optax.GradientTransformationExtraArgs:
    """Applies an exponential average of a method's weights instead of the weights themselves.

        ā ← α ā + (1 − α) a,     ā = a at the first step

    It costs one more backward pass.

    Args:
      weighting: a weighting whose update is Σ_t weights_t g_t.
      decay: α in [0, 1); 0 returns the weighting as it is. .9 in published code.
      shared: the leaves on which the weights act, as it was given to the weighting.

    Returns:
      A weighting with the same state, whose `weights` are the averages.

    Raises:
      InputError: `decay` is out of range.
    """
    number = isinstance(decay, int | float) and not isinstance(decay, bool)
    if not is_traced(decay) and not (number and 0 <= decay < 1):
        raise InputError(f"smooth is {decay!r}, expected a number in [0, 1)")
    if known_false(decay != 0):
        return weighting

    def update_fn(updates, state, params=None, **extra):
        jac = sized_jacobian(updates, None)
        _, new = weighting.update(jac, state, params, **extra)
        begun = jnp.any(state.weights != 0)
        weights = jnp.where(begun, decay * state.weights + (1.0 - decay) * new.weights, new.weights)
        return combine(jac, weights, shared), new._replace(weights=weights)

    return optax.GradientTransformationExtraArgs(weighting.init, update_fn)
