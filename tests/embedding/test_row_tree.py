"""Rows taken out of a training state and put back, and steps on them beside steps on whole tables."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl import task_jacobian, weightings
from mtl.compilation import compile_quickly
from mtl.embedding import (
    empty_scratch,
    gather_rows,
    row_axes,
    rowwise_adagrad,
    scatter_rows,
    unique_rows,
)
from mtl.errors import InputError
from mtl.weightings import with_key

V, W, E, T, B = 23, 7, 3, 2, 8
RNG = np.random.default_rng(0)
PARAMS = {
    "items": jnp.asarray(RNG.normal(size=(V, E)), jnp.float32),
    "users": jnp.asarray(RNG.normal(size=(T, W, E)), jnp.float32),  # a private table per task
    "kernel": jnp.asarray(RNG.normal(size=(3 * E, T)), jnp.float32),
}
TABLES = {"items": "items", "users": "users"}


class Batch(NamedTuple):
    items: jax.Array
    users: jax.Array
    target: jax.Array


def batches(steps):
    rng = np.random.default_rng(1)
    items = rng.integers(0, V, (steps, B, 2))
    users = rng.integers(0, W, (steps, B))
    return Batch(
        jnp.asarray(items, jnp.int32),
        jnp.asarray(users, jnp.int32),
        jnp.asarray(rng.normal(size=(steps, B, T)), jnp.float32),
    )


def losses_of(params, batch):
    items = params["items"][batch.items].reshape(B, -1)
    users = params["users"][:, batch.users]
    x = jnp.concatenate([jnp.broadcast_to(items, (T, *items.shape)), users], axis=-1)
    outputs = jnp.einsum("tbd,dt->bt", x, params["kernel"])
    return jnp.mean(jnp.square(jnp.tanh(outputs) - batch.target), axis=0)


def ordinary(tx):
    def step(state, batch):
        params, opt_state = state
        losses, jac = task_jacobian(losses_of, params, batch)
        updates, opt_state = tx.update(jac, opt_state, params, losses=losses)
        return (optax.apply_updates(params, updates), opt_state), losses

    return step


def sparse(tx):
    axes = row_axes(lambda p: (p, tx.init(p)), PARAMS, TABLES)

    def step(carry, batch):
        state, scratch = carry
        items, found_items = unique_rows(scratch["items"], batch.items, 2 * B)
        users, found_users = unique_rows(scratch["users"], batch.users, B)
        rows = {"items": found_items, "users": found_users}
        batch = batch._replace(items=found_items.positions, users=found_users.positions)
        small, losses = ordinary(tx)(gather_rows(state, axes, rows), batch)
        return (scatter_rows(state, small, axes, rows), {"items": items, "users": users}), losses

    return step


def start(tx):
    return PARAMS, with_key(tx.init(PARAMS), jax.random.key(3))


def both(tx, steps=100):
    """States and losses of the dense and of the sparse training."""
    given = batches(steps)
    dense = jax.jit(lambda s: jax.lax.scan(ordinary(tx), s, given))(start(tx))
    scratch = {"items": empty_scratch(V), "users": empty_scratch(W)}
    (state, _), losses = jax.jit(lambda s: jax.lax.scan(sparse(tx), s, given))((start(tx), scratch))
    return dense, (state, losses)


def close(one, other, tolerance=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), one, other)


@pytest.mark.parametrize(
    "optimizer",
    [optax.sgd(0.1), optax.adagrad(0.1), rowwise_adagrad(0.1)],
    ids=["sgd", "adagrad", "rowwise_adagrad"],
)
def test_sgd_and_adagrad_make_the_dense_step(optimizer):
    tx = optax.chain(weightings.static(num_tasks=T), optax.clip_by_global_norm(0.5), optimizer)
    dense, found = both(tx)
    close(dense, found)


def test_a_weighting_reads_the_whole_tables_gramian():
    tx = optax.chain(weightings.mgda(num_tasks=T), optax.sgd(0.05))
    dense, found = both(tx)
    close(dense, found, 1e-5)  # the solver's own tolerance


SAME_SHAPES = [
    name
    for name in sorted(weightings.WEIGHTINGS)
    # GradDrop draws a number for every entry of a gradient: others for other shapes. Those of several batches
    # are in tests/train/test_sparse_rows.py.
    if name != "graddrop" and weightings.needs(name).batches == 1
]


@pytest.mark.parametrize("name", SAME_SHAPES)
def test_every_weighting_makes_the_dense_step(name):
    """From a fresh state; later steps may differ where a method remembers gradients of rows."""
    spec = {"name": name, **({"weights": 1.0} if name == "static" else {})}
    tx = optax.chain(weightings.build(spec, kinds=["regression"] * T, steps_per_epoch=2), optax.sgd(0.1))
    given = jax.tree.map(lambda x: x[0], batches(1))
    scratch = {"items": empty_scratch(V), "users": empty_scratch(W)}

    @functools.partial(jax.jit, compiler_options=compile_quickly())
    def once(state):
        return ordinary(tx)(state, given), sparse(tx)((state, scratch), given)

    ((dense, _), dense_losses), (((found, _), _), losses) = once(start(tx))
    close((dense, dense_losses), (found, losses), 1e-5)


def test_adams_moments_are_lazy():
    """Adam by hand on every row, at the steps that read it and no other; the count is that of all steps."""
    rate, b1, b2, eps = 0.05, 0.9, 0.999, 1e-8
    tx = optax.chain(weightings.static(num_tasks=T), optax.adam(rate, b1, b2, eps))
    given = batches(30)
    _, ((found, _), _) = both(tx, steps=30)
    gradient = jax.jit(jax.grad(lambda p, b: losses_of(p, b).sum()))
    params = {k: np.asarray(v, np.float64) for k, v in PARAMS.items()}
    first = {k: np.zeros_like(v) for k, v in params.items()}
    second = {k: np.zeros_like(v) for k, v in params.items()}
    for i in range(30):
        batch = jax.tree.map(lambda x, i=i: x[i], given)
        grads = gradient({k: jnp.asarray(v, jnp.float32) for k, v in params.items()}, batch)
        read = {
            "items": np.isin(np.arange(V), batch.items)[:, None],
            "users": np.isin(np.arange(W), batch.users)[None, :, None],
            "kernel": np.ones((1, 1), bool),
        }
        for k, live in read.items():
            g = np.asarray(grads[k], np.float64)
            first[k] = np.where(live, b1 * first[k] + (1 - b1) * g, first[k])
            second[k] = np.where(live, b2 * second[k] + (1 - b2) * g * g, second[k])
            m, v = first[k] / (1 - b1 ** (i + 1)), second[k] / (1 - b2 ** (i + 1))
            params[k] = np.where(live, params[k] - rate * m / (np.sqrt(v) + eps), params[k])
    for k in params:
        np.testing.assert_allclose(found[k], params[k], rtol=2e-4, atol=2e-4)


def test_rows_that_no_batch_reads_do_not_move_and_others_do():
    tx = optax.chain(weightings.static(num_tasks=T), optax.adamw(0.1, weight_decay=0.1))
    given = jax.tree.map(lambda x: x[:3], batches(3))
    _, ((params, _), _) = both(tx, steps=3)
    read = np.isin(np.arange(V), given.items)
    assert 0 < read.sum() < V
    moved = (np.asarray(params["items"]) != np.asarray(PARAMS["items"])).any(axis=1)
    np.testing.assert_array_equal(moved, read)


def test_places_left_over_are_zero():
    axes = row_axes(lambda p: p, PARAMS, TABLES)
    _, items = unique_rows(empty_scratch(V), np.array([4, 4, 1], np.int32), 5)
    _, users = unique_rows(empty_scratch(W), np.array([6], np.int32), 2)
    small = gather_rows(PARAMS, axes, {"items": items, "users": users})
    np.testing.assert_array_equal(small["items"][:2], PARAMS["items"][np.array([4, 1])])
    np.testing.assert_array_equal(small["items"][2:], 0)
    np.testing.assert_array_equal(small["users"][:, 0], PARAMS["users"][:, 6])
    np.testing.assert_array_equal(small["users"][:, 1], 0)
    assert small["kernel"] is PARAMS["kernel"]


def test_mistakes_are_named():
    with pytest.raises(InputError, match=r"table 'x': no leaf \[..., V, E\] at 'item'; the leaves are"):
        row_axes(lambda p: p, PARAMS, {"x": "item"})
    with pytest.raises(InputError, match=r"table 'x': a state of shape \(23, 23\) does not keep one entry"):
        row_axes(lambda p: p["items"] @ p["items"].T, PARAMS, {"x": "items"})
