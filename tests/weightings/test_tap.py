"""Every method that reads only the Gramian reads it at a tap as well."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl import task_jacobian
from mtl.compilation import compile_quickly
from mtl.weightings import WEIGHTINGS

TAPPED = [name for name, factory in WEIGHTINGS.items() if "tap" in inspect.signature(factory).parameters]
ARGUMENTS = {"db_mtl": {"beta": 0.0}}
X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)), jnp.float32)
PARAMS = {
    "trunk": jnp.asarray(np.random.default_rng(1).normal(size=(4, 5)), jnp.float32),
    "heads": jnp.asarray(np.random.default_rng(2).normal(size=(5, 3)), jnp.float32),
}
SHARED = {"trunk": True, "heads": False}


def losses_of(params, perturbations=0.0):
    hidden = jnp.tanh(X @ params["trunk"]) + perturbations
    return jnp.mean((hidden @ params["heads"] - X[:, :3]) ** 2, axis=0)


def test_all_methods_of_the_gramian_are_here():
    assert len(TAPPED) == 16


@pytest.mark.parametrize("name", TAPPED)
def test_weights_are_those_of_the_gradients_at_the_tap(name):
    """The same method on the stacked gradients at the tap gives the weights; they act on the trunk."""
    tapped = WEIGHTINGS[name](num_tasks=3, tap=True, shared=SHARED, **ARGUMENTS.get(name, {}))
    plain = WEIGHTINGS[name](num_tasks=3, **ARGUMENTS.get(name, {}))

    def both(params):
        losses, jac = task_jacobian(losses_of, params, tap=jnp.zeros((6, 5)))
        update, state = tapped.update(jac, tapped.init(params), params, losses=losses)
        at_tap = jac.stacked_at_tap()
        _, expected = plain.update(at_tap, plain.init(at_tap[0]), losses=losses)
        return jac.stacked(), update, state.weights, expected.weights

    stacked, update, weights, expected = jax.jit(both, compiler_options=compile_quickly())(PARAMS)
    np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        update["trunk"], np.tensordot(weights, stacked["trunk"], 1), rtol=1e-3, atol=1e-5
    )
    np.testing.assert_allclose(update["heads"], stacked["heads"].sum(axis=0), rtol=1e-4, atol=1e-6)
