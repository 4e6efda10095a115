"""Optimisation of a problem given as a function, from many starts at once, in one compiled call."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl import weightings
from mtl.jacobian import task_jacobian
from mtl.types import Array, LossFn


class Descent(NamedTuple):
    """What is kept of S runs of N steps; R = ⌈N / every⌉ records after the one of the start.

    Attributes:
      points: the parameters at steps 0, every, 2 every, …, N, `[S, R + 1, D]`.
      weights: the weights applied at the step before each record but the first, `[S, R, T]`.
      residual: largest optimality gap of the weighting's solver in the steps before each record but the
        first `[S, R]`; 0 without a solver.
      failed: the first step with a loss or weight that is not finite `[S]` int32; N if there is none.
    """

    points: Array
    weights: Array
    residual: Array
    failed: Array


class _Carry(NamedTuple):
    point: Array
    opt_state: optax.OptState
    weights: Array
    residual: Array
    failed: Array


def descent_program(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformationExtraArgs,
    needs: weightings.Needs,
    *,
    num_tasks: int,
    num_steps: int,
    every: int,
) -> Any:
    """Builds the optimisation of a function of one point, `vmap`ped over starts.

    The losses are deterministic, so a method that takes several independent batches per step is given the
    same gradients several times. What is random in a method comes from the key of the run.

    Args:
      loss_fn: `loss_fn(point [D]) -> losses [T]`.
      optimizer: a chain that begins with a weighting.
      needs: what the weighting consumes.
      num_tasks: T.
      num_steps: N.
      every: steps between records.

    Returns:
      A jitted function `(starts [S, D], keys [S]) -> Descent`.
    """

    def step(index: Array, carry: _Carry) -> _Carry:
        losses, jac = task_jacobian(loss_fn, carry.point, chunk_size=num_tasks)
        more = {"jacobians": (jac,) * (needs.batches - 1)} if needs.batches > 1 else {}
        updates, opt_state = optimizer.update(jac, carry.opt_state, carry.point, losses=losses, **more)
        point = optax.apply_updates(carry.point, updates)
        if needs.losses_after:
            opt_state = weightings.observe(opt_state, loss_fn(point))
        state = weightings.weighting_state(opt_state)
        finite = jnp.all(jnp.isfinite(losses)) & jnp.all(jnp.isfinite(state.weights))
        return _Carry(
            point=point,
            opt_state=opt_state,
            weights=state.weights,
            residual=jnp.maximum(carry.residual, getattr(state, "residual", 0.0)),
            failed=jnp.where(finite, carry.failed, jnp.minimum(carry.failed, index)),
        )

    def one_run(start: Array, key: Array) -> Descent:
        def until_record(carry: _Carry, first: Array) -> tuple[_Carry, tuple[Array, Array, Array]]:
            last = jnp.minimum(first + every, num_steps)
            carry = jax.lax.fori_loop(first, last, step, carry._replace(residual=jnp.zeros(())))
            return carry, (carry.point, carry.weights, carry.residual)

        opt_state = weightings.with_key(optimizer.init(start), key)
        carry = _Carry(start, opt_state, jnp.zeros(num_tasks), jnp.zeros(()), jnp.asarray(num_steps))
        carry, kept = jax.lax.scan(until_record, carry, jnp.arange(0, num_steps, every))
        points, weights, residual = kept
        return Descent(jnp.concatenate([start[None], points]), weights, residual, carry.failed)

    return jax.jit(jax.vmap(one_run))
