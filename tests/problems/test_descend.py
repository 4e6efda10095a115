"""Following a weighting on a function of one point: against closed forms, and what methods are given."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl import weightings
from mtl.problems import descent_program

CENTRES = jnp.array([[1.0, 0.0], [0.0, 2.0]])
STARTS = jnp.array([[3.0, 3.0], [-1.0, 0.5], [3.0, 3.0]])
PLAIN = weightings.needs("static")


class Counting(NamedTuple):
    weights: jax.Array
    residual: jax.Array
    step: jax.Array


def quadratics(point):
    return 0.5 * jnp.sum((point - CENTRES) ** 2, axis=1)


def keys(count=3):
    return jax.random.split(jax.random.key(0), count)


def descend(weighting, needs=PLAIN, loss_fn=quadratics, rate=0.1, num_steps=10, every=4):
    optimizer = optax.chain(weighting, optax.sgd(rate))
    call = descent_program(loss_fn, optimizer, needs, num_tasks=2, num_steps=num_steps, every=every)
    return call(STARTS, keys())


def test_records_follow_the_closed_form_at_the_steps_said():
    """Gradient descent on Σ w_t ½‖x − c_t‖² with Σw = 1 contracts towards Σ w_t c_t by 1 − rate a step."""
    found = descend(weightings.static((0.25, 0.75)))
    centre = np.array([0.25, 1.5])
    steps = np.array([0, 4, 8, 10])
    expected = centre + 0.9 ** steps[:, None] * (np.asarray(STARTS)[:, None] - centre)
    np.testing.assert_allclose(found.points, expected, rtol=1e-5)
    np.testing.assert_allclose(found.weights, np.tile([0.25, 0.75], (3, 3, 1)))
    np.testing.assert_array_equal(found.failed, [10, 10, 10])
    np.testing.assert_array_equal(found.residual, np.zeros((3, 3)))


def test_the_first_step_that_is_not_finite_is_named():
    """From 0.3 the point falls by 0.1 a step, and the fourth step, at 0, meets a loss that is NaN."""

    def loss_fn(point):
        return jnp.stack([point[0], jnp.where(point[0] > 0.05, 0.0, jnp.nan)])

    optimizer = optax.chain(weightings.static((1.0, 1.0)), optax.sgd(0.1))
    call = descent_program(loss_fn, optimizer, PLAIN, num_tasks=2, num_steps=8, every=5)
    found = call(jnp.array([[0.3], [9.0]]), keys(2))
    np.testing.assert_array_equal(found.failed, [3, 8])


def test_the_residual_is_the_largest_since_the_last_record():
    def init(params):
        return Counting(jnp.zeros(2), jnp.zeros(()), jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, **extra):
        residual = jnp.where(state.step == 5, 0.5, 0.1)
        return updates.pullback(jnp.ones(2)), Counting(jnp.ones(2), residual, state.step + 1)

    found = descend(optax.GradientTransformationExtraArgs(init, update))
    np.testing.assert_allclose(found.residual, [[0.1, 0.5, 0.1]] * 3, rtol=1e-6)


def test_a_method_of_several_batches_is_given_the_same_gradients_for_each():
    def init(params):
        return weightings.StaticState(jnp.zeros(2), jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, *, jacobians, **extra):
        first, second = jacobians
        w = jnp.array([0.25, 0.75])
        half = jax.tree.map(lambda a, b: 0.5 * (a + b), first.pullback(w), second.pullback(w))
        return half, state._replace(weights=w)

    several = descend(
        optax.GradientTransformationExtraArgs(init, update), weightings.Needs(batches=3, losses_after=False)
    )
    np.testing.assert_allclose(several.points, descend(weightings.static((0.25, 0.75))).points, rtol=1e-6)


def test_a_method_that_looks_back_is_shown_the_losses_after_the_step():
    """FAMO's weights move away from ½ only once it has seen by how much each loss fell."""
    shown = descend(weightings.build("famo", kinds=("regression",) * 2), weightings.needs("famo"))
    blind = descend(weightings.build("famo", kinds=("regression",) * 2), PLAIN)
    assert not np.allclose(shown.weights[:, -1], blind.weights[:, -1], rtol=1e-3)


@pytest.mark.parametrize("name", ["rlw", "graddrop"])
def test_random_methods_use_the_key_of_the_run(name):
    found = descend(weightings.build(name, kinds=("regression",) * 2), weightings.needs(name))
    assert not np.allclose(found.points[0, -1], found.points[2, -1])  # one start, two keys
