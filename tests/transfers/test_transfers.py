"""Transfers: outputs from towers, with and without the task graph."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.transfers import TRANSFERS, Bayesian, Independent

RNG = np.random.default_rng(0)
PARENTS = ((), (0,), (0, 1))
H = RNG.normal(size=(3, 6, 4))


def random_params(transfer):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(transfer.init, jax.random.key(0), jnp.float32(H))["params"]
    return jax.tree.map(lambda p: jnp.float32(rng.normal(size=p.shape)), shapes)


def test_independent_outputs_are_linear_in_the_towers():
    transfer = Independent(PARENTS, (1, 1, 1))
    params = random_params(transfer)
    outputs = jax.jit(transfer.apply)({"params": params}, jnp.float32(H))
    head = params["heads"]["dense"]
    for t in range(3):
        expected = H[t] @ np.float64(head["kernel"][t]) + np.float64(head["bias"][t])
        np.testing.assert_allclose(outputs[t], expected, rtol=1e-5, atol=1e-6)


def test_bayesian_outputs_match_numpy():
    transfer = Bayesian(PARENTS, (1, 1, 1), relation_features=(5,))
    params = random_params(transfer)
    outputs = jax.jit(transfer.apply)({"params": params}, jnp.float32(H))
    unit = jax.tree.map(np.float64, params["relations"])
    head = jax.tree.map(np.float64, params["heads"]["dense"])
    relations: list[np.ndarray] = []
    for t, parents in enumerate(PARENTS):
        z = H[t] @ unit["own_kernel"][t] + unit["bias0"][t]
        for slot, parent in enumerate(parents):
            z = z + relations[parent] @ unit["parent_kernel"][t, slot]
        relations.append(np.maximum(z, 0))
        expected = relations[t] @ head["kernel"][t] + head["bias"][t]
        np.testing.assert_allclose(outputs[t], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TRANSFERS)
def test_tasks_may_have_different_numbers_of_outputs(name):
    transfer = TRANSFERS[name](parents=PARENTS, num_outputs=(1, 10, 2))
    outputs = jax.jit(transfer.apply)({"params": random_params(transfer)}, jnp.float32(H))
    assert outputs.shape == (3, 6, 10)
    assert outputs.dtype == jnp.float32
    for t, k in enumerate((1, 10, 2)):
        assert np.all(np.asarray(outputs[t, :, :k]) != 0)
        np.testing.assert_array_equal(outputs[t, :, k:], 0)


@pytest.mark.parametrize("name", TRANSFERS)
def test_one_task_is_enough(name):
    transfer = TRANSFERS[name](parents=((),), num_outputs=(1,))
    h = jnp.float32(H[:1])
    outputs, _ = jax.jit(transfer.init_with_output)(jax.random.key(0), h)
    assert outputs.shape == (1, 6, 1)
    assert np.all(np.isfinite(outputs))
