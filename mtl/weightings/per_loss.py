"""One optimiser per loss: every loss keeps its own moments, and the updates are summed."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.jacobian import Shared, StackedJacobian, combine
from mtl.weightings.build import weighting_state
from mtl.weightings.contract import check_num_tasks, sized_jacobian


class PerLossState(NamedTuple):
    """State of `per_loss`.

    Attributes:
      weighting: the weighting's state.
      optimizers: the states of T optimisers, leaves `[T, …]`.
    """

    weighting: Any
    optimizers: optax.OptState


def per_loss(
    weighting: optax.GradientTransformationExtraArgs,
    optimizer: optax.GradientTransformation,
    num_tasks: int,
    *,
    shared: Shared = None,
    tap: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Gives every loss an optimiser of its own over all parameters.

        u = Σ_t w_t opt_t(∇L_t)      (private leaves: Σ_t opt_t(∇L_t), of which the owner's is not zero)

    It stands where weighting and optimiser stand in a chain. An optimiser that is linear in its gradients,
    such as SGD with or without momentum, gives opt(Σ_t w_t ∇L_t) where weights are constant. Adam does not:
    each loss is brought to unit steps before the weights act, so that weights say how *far* a loss moves the
    parameters, whatever its scale. What must act once, as decoupled weight decay and a schedule of the
    learning rate, belongs after it. Cost: T backward passes and T times the optimiser's memory.

    Args:
      weighting: a weighting whose update is Σ_t weights_t g_t; not one of `UNWEIGHTED`.
      optimizer: what each loss's gradients go through, such as `optax.scale_by_adam()`.
      num_tasks: T.
      shared: the leaves on which the weights act, as it was given to the weighting.
      tap: whether the weighting reads the tap of the Jacobian.

    Returns:
      A gradient transformation; its state holds the weighting's, which `weighting_state` finds.

    Raises:
      InputError: `num_tasks` is out of range.
    """
    check_num_tasks(num_tasks)

    def init_fn(params):
        states = jax.vmap(lambda _: optimizer.init(params))(jnp.arange(num_tasks))
        return PerLossState(weighting.init(params), states)

    def update_fn(updates, state, params=None, **extra):
        jac = sized_jacobian(updates, num_tasks)
        evaluated = jac.evaluated()
        # Read twice, the gradients would be computed twice; only a tap needs the Jacobian itself.
        _, weighted = weighting.update(jac if tap else evaluated, state.weighting, params, **extra)

        def own(gradient, optimizer_state):
            return optimizer.update(gradient, optimizer_state, params)

        changes, states = jax.vmap(own)(evaluated.stacked(), state.optimizers)
        update = combine(StackedJacobian(changes), weighting_state(weighted).weights, shared)
        return update, PerLossState(weighted, states)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
