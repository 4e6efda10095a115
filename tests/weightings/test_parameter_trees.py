"""Every weighting on the parameter trees of NNX and Equinox, against a plain dict of the same arrays."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from table import TABLE

from mtl import task_jacobian, task_ownership
from mtl.compilation import compile_quickly
from mtl.weightings import WEIGHTINGS, observe, weighting_state

NUM_TASKS = 3
ROWS = {row.name: row for row in reversed(TABLE)}  # the first row of every method


class NNXModel(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.trunk = nnx.Linear(4, 5, rngs=rngs)
        self.heads = nnx.Param(jax.random.normal(rngs.params(), (NUM_TASKS, 5)))
        self.calls = nnx.Variable(jnp.zeros(()))  # not a parameter

    def __call__(self, x):
        return jnp.tanh(self.trunk(x)) @ self.heads[...].T


class EquinoxModel(eqx.Module):
    trunk: eqx.nn.MLP
    heads: jax.Array
    calls: jax.Array  # integers are not trained
    activation: Callable

    def __init__(self):
        first, second = jax.random.split(jax.random.key(0))
        self.trunk = eqx.nn.MLP(4, 5, 6, 1, key=first)
        self.heads = jax.random.normal(second, (NUM_TASKS, 5))
        self.calls = jnp.zeros((), jnp.int32)
        self.activation = jnp.tanh

    def __call__(self, x):
        return self.activation(jax.vmap(self.trunk)(x)) @ self.heads.T


class Case(NamedTuple):
    """A tree of parameters and its losses `loss_fn(params, batch) -> [T]`."""

    params: Any
    loss_fn: Callable


def losses_of(outputs, batch):
    return jnp.mean((outputs - batch[1]) ** 2, axis=0)


def nnx_case() -> Case:
    graph, params, rest = nnx.split(NNXModel(), nnx.Param, ...)
    return Case(params, lambda p, batch: losses_of(nnx.merge(graph, p, rest)(batch[0]), batch))


def equinox_case() -> Case:
    params, static = eqx.partition(EquinoxModel(), eqx.is_inexact_array)
    return Case(params, lambda p, batch: losses_of(eqx.combine(p, static)(batch[0]), batch))


def as_dict(case: Case) -> Case:
    """The same arrays, in the same order, in a plain dict."""
    leaves, treedef = jax.tree.flatten(case.params)
    plain = {f"leaf_{i:02}": leaf for i, leaf in enumerate(leaves)}
    return Case(plain, lambda p, batch: case.loss_fn(treedef.unflatten([p[k] for k in sorted(p)]), batch))


def train(case: Case, batches, shared):
    """Two steps of every weighting; the parameters and the weights of each."""

    def run(row):
        tx = optax.chain(WEIGHTINGS[row.name](**row.kwargs(NUM_TASKS), shared=shared), optax.sgd(0.1))

        def step(carry, batch):
            params, state = carry
            losses, jac = task_jacobian(case.loss_fn, params, batch)
            update, state = tx.update(jac, state, params, losses=losses, jacobians=(jac, jac))
            params = optax.apply_updates(params, update)
            return (params, observe(state, case.loss_fn(params, batch))), None

        # `scan` refuses a step that changes the structure or a dtype of the parameters or of the state.
        (params, state), _ = jax.lax.scan(step, (case.params, tx.init(case.params)), batches)
        return params, weighting_state(state).weights

    return {name: run(row) for name, row in ROWS.items()}


@functools.cache
def trained(make_case: Callable[[], Case], plain: bool):
    """Compiles one program that runs all weightings."""
    case = as_dict(make_case()) if plain else make_case()
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 8, 4)), jnp.float32)
    batches = (x, jnp.stack([x.sum(axis=-1), x[..., 0] * x[..., 1], 1 - x[..., 2]], axis=-1))
    shared = task_ownership(case.loss_fn, case.params, jax.tree.map(lambda b: b[0], batches)).shared
    assert sorted(jax.tree.leaves(shared), key=int).count(False) == 1  # the heads
    run = jax.jit(functools.partial(train, case, shared=shared), compiler_options=compile_quickly())
    return case.params, run(batches)


@pytest.mark.parametrize("make_case", [nnx_case, equinox_case])
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_two_steps_equal_those_on_a_plain_dict(name, make_case):
    before, results = trained(make_case, False)
    _, expected = trained(make_case, True)
    params, weights = results[name]
    plain, plain_weights = expected[name]
    chex.assert_trees_all_equal_structs(params, before)
    for old, new, other in zip(
        jax.tree.leaves(before), jax.tree.leaves(params), jax.tree.leaves(plain), strict=True
    ):
        assert np.isfinite(new).all()
        assert not np.array_equal(old, new)
        np.testing.assert_allclose(new, other, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weights, plain_weights, rtol=1e-5)


@pytest.mark.parametrize(
    ("make_case", "kind"), [(nnx_case, nnx.State), (equinox_case, EquinoxModel)], ids=["nnx", "equinox"]
)
def test_the_trained_parameters_go_back_into_the_model(make_case, kind):
    before, results = trained(make_case, False)
    params, _ = results["mgda"]
    assert isinstance(before, kind)
    assert isinstance(params, kind)
    batch = (jnp.ones((2, 4)), jnp.zeros((2, NUM_TASKS)))
    old, new = (make_case().loss_fn(p, batch) for p in (before, params))
    assert np.isfinite(new).all()
    assert not np.allclose(old, new)
