"""What every weighting must do, for every row of the table."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from table import TABLE, Row

from mtl import task_jacobian
from mtl.errors import InputError
from mtl.weightings import WEIGHTINGS, weighting_state

NUM_TASKS = 3
EACH_ROW = pytest.mark.parametrize("row", TABLE, ids=lambda r: r.id)


def make(row: Row, num_tasks: int = NUM_TASKS, **more):
    return WEIGHTINGS[row.name](**row.kwargs(num_tasks), **more)


def params():
    return {"w": jnp.zeros((4, 2)), "b": jnp.zeros(3)}


def gradients(num_tasks=NUM_TASKS, seed=0, dtype=jnp.float32):
    k1, k2 = jax.random.split(jax.random.key(seed))
    return {
        "w": jax.random.normal(k1, (num_tasks, 4, 2), dtype),
        "b": jax.random.normal(k2, (num_tasks, 3), dtype),
    }


def losses(num_tasks=NUM_TASKS):
    return jnp.array([0.5, 2.0, 1.0, 3.0, 0.1][:num_tasks])


def run(tx, grads, loss, steps=1):
    state = tx.init(params())
    for _ in range(steps):
        update, state = tx.update(grads, state, params(), losses=loss)
    return update, state


def test_the_table_has_every_weighting():
    assert {row.name for row in TABLE} == set(WEIGHTINGS)


@EACH_ROW
def test_shapes_dtypes_and_state(row):
    tx = make(row)
    before = tx.init(params())
    update, state = run(tx, gradients(), losses())
    chex.assert_trees_all_equal_shapes_and_dtypes(update, params())
    chex.assert_trees_all_equal_shapes_and_dtypes(state, before)
    assert state.weights.shape == (NUM_TASKS,)
    assert np.isfinite(state.weights).all()


@EACH_ROW
def test_the_update_is_the_weighted_sum_it_reports(row):
    update, state = run(make(row), gradients(), losses(), steps=4)
    expected = jax.tree.map(lambda g: jnp.tensordot(state.weights, g, axes=1), gradients())
    chex.assert_trees_all_close(update, expected, rtol=1e-5, atol=1e-6)


@EACH_ROW
def test_jit_equals_eager_and_does_not_recompile(row):
    tx = make(row)
    traces = []

    @jax.jit
    def step(grads, state, loss):
        traces.append(1)
        return tx.update(grads, state, params(), losses=loss)

    eager, jitted = tx.init(params()), tx.init(params())
    for seed in range(5):
        update_e, eager = tx.update(gradients(seed=seed), eager, params(), losses=losses())
        update_j, jitted = step(gradients(seed=seed), jitted, losses())
        chex.assert_trees_all_close(update_e, update_j, rtol=1e-5, atol=1e-6)
    assert len(traces) == 1


@EACH_ROW
def test_a_fresh_state_can_be_donated(row):
    """No two leaves share a buffer, so a jitted step may update the state in place."""
    tx = make(row)
    step = jax.jit(lambda s, g: tx.update(g, s, params(), losses=losses()), donate_argnums=0)
    _, state = step(tx.init(params()), gradients())
    _, expected = run(tx, gradients(), losses())
    chex.assert_trees_all_close(state, expected, rtol=1e-5, atol=1e-6)


@EACH_ROW
def test_vmap_equals_a_loop_and_scan_keeps_the_state(row):
    tx = make(row)
    many = [gradients(seed=s) for s in range(3)]
    stacked = jax.tree.map(lambda *g: jnp.stack(g), *many)
    state = tx.init(params())
    one = partial(tx.update, params=params(), losses=losses())
    batched, _ = jax.vmap(lambda g: one(g, state))(stacked)
    for i, grads in enumerate(many):
        expected, _ = one(grads, state)
        chex.assert_trees_all_close(
            jax.tree.map(lambda u, i=i: u[i], batched), expected, rtol=1e-4, atol=1e-6
        )

    def body(state, grads):
        update, state = one(grads, state)
        return state, update

    scanned, _ = jax.lax.scan(body, state, stacked)
    for grads in many:
        _, state = one(grads, state)
    chex.assert_trees_all_close(scanned, state, rtol=1e-5, atol=1e-6)


@EACH_ROW
def test_float32_agrees_with_float64(row):
    narrow, _ = run(make(row), gradients(), losses(), steps=3)
    with jax.enable_x64(True):
        wide_grads = jax.tree.map(lambda g: jnp.asarray(np.asarray(g), jnp.float64), gradients())
        wide, _ = run(make(row), wide_grads, jnp.asarray(np.asarray(losses()), jnp.float64), steps=3)
        assert jax.tree.leaves(wide)[0].dtype == jnp.float64
    chex.assert_trees_all_close(jax.tree.map(np.asarray, narrow), jax.tree.map(np.asarray, wide), atol=2e-5)


@EACH_ROW
def test_bfloat16_gradients(row):
    update, state = run(make(row), gradients(dtype=jnp.bfloat16), losses())
    assert all(u.dtype == jnp.bfloat16 for u in jax.tree.leaves(update))
    assert state.weights.dtype == jnp.float32
    assert np.isfinite(state.weights).all()


@EACH_ROW
def test_the_order_of_tasks_does_not_matter(row):
    if row.name == "static":
        pytest.skip("static weights name their tasks")
    order = jnp.array([2, 0, 1])
    _, state = run(make(row), gradients(), losses(), steps=4)
    _, moved = run(make(row), jax.tree.map(lambda g: g[order], gradients()), losses()[order], steps=4)
    np.testing.assert_allclose(moved.weights, state.weights[order], rtol=1e-4, atol=1e-5)


@EACH_ROW
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scaling_law(row, scale):
    loss_scale = 1.0 if row.name == "uwl" else scale  # s lags: the law holds for its first step only
    _, one = run(make(row), gradients(), losses())
    _, other = run(make(row), jax.tree.map(lambda g: g * scale, gradients()), losses() * loss_scale)
    factor = 1.0 if row.scales == "invariant" else scale
    np.testing.assert_allclose(other.weights * factor, one.weights, rtol=1e-4, atol=1e-6)


@EACH_ROW
def test_one_task_moves_along_its_own_gradient(row):
    grads = gradients(1)
    update, state = run(make(row, 1), grads, losses(1))
    assert float(state.weights[0]) > 0
    expected = jax.tree.map(lambda g: g[0] * state.weights[0], grads)
    chex.assert_trees_all_close(update, expected, rtol=1e-5)


@EACH_ROW
def test_a_task_without_rows_or_gradient(row):
    grads = jax.tree.map(lambda g: g.at[1].set(0.0), gradients())
    loss = losses().at[1].set(0.0)
    update, state = run(make(row), grads, loss, steps=3)
    assert np.isfinite(state.weights).all()
    assert all(np.isfinite(u).all() for u in jax.tree.leaves(update))
    assert any(u.any() for u in jax.tree.leaves(update))  # the others still train


@EACH_ROW
def test_all_gradients_zero(row):
    update, state = run(make(row), jax.tree.map(jnp.zeros_like, gradients()), losses())
    assert np.isfinite(state.weights).all()
    assert not any(u.any() for u in jax.tree.leaves(update))


@EACH_ROW
def test_a_duplicated_task(row):
    grads = jax.tree.map(lambda g: g.at[1].set(g[0]), gradients())
    update, state = run(make(row), grads, losses().at[1].set(losses()[0]))
    assert np.isfinite(state.weights).all()
    assert getattr(state, "residual", jnp.zeros(())) < 1e-5 or row.name == "pe_ltr"
    assert all(np.isfinite(u).all() for u in jax.tree.leaves(update))


@EACH_ROW
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_gradient_shows(row, bad):
    """Never a finite update, as silently equal weights would be."""
    grads = gradients()
    grads["w"] = grads["w"].at[0, 0, 0].set(bad)
    update, _ = run(make(row), grads, losses().at[0].set(bad))
    assert not np.isfinite(update["w"]).all()


@EACH_ROW
def test_stacked_equals_lazy(row):
    def loss_fn(p, x):
        h = jnp.tanh(x @ p["w"])
        return jnp.array([0.3, 1.0, 2.0]) + jnp.stack([h.sum(), (h**2).sum(), (p["b"] * h.mean()).sum()])

    p = jax.tree.map(lambda x: x + 0.3, params())
    loss, jac = task_jacobian(loss_fn, p, jnp.arange(20.0).reshape(5, 4) / 20)
    tx = make(row)
    lazy, lazy_state = tx.update(jac, tx.init(p), p, losses=loss)
    plain, plain_state = tx.update(jac.stacked(), tx.init(p), p, losses=loss)
    chex.assert_trees_all_close(lazy, plain, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(lazy_state, plain_state, rtol=1e-5, atol=1e-6)


@EACH_ROW
def test_works_in_a_chain_and_under_inject_hyperparams(row):
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.5)
    tx = optax.chain(make(row), optimizer)
    state = tx.init(params())
    update, state = tx.update(gradients(), state, params(), losses=losses())
    alone, own = run(make(row), gradients(), losses())
    chex.assert_trees_all_close(update, jax.tree.map(lambda u: -0.5 * u, alone), rtol=1e-6)
    np.testing.assert_allclose(weighting_state(state).weights, own.weights)


@EACH_ROW
def test_private_parameters_get_their_own_gradient(row):
    """The weights act on `w`; `b`, which is not shared, gets the plain sum."""
    tx = make(row, shared={"w": True, "b": False})
    update, state = run(tx, gradients(), losses())
    chex.assert_trees_all_close(update["b"], gradients()["b"].sum(axis=0), rtol=1e-6)
    expected = jnp.tensordot(state.weights, gradients()["w"], axes=1)
    chex.assert_trees_all_close(update["w"], expected, rtol=1e-5, atol=1e-6)
    if row.uses_gradients:  # private gradients do not enter the weights
        loud = {"w": gradients()["w"], "b": 100 * gradients()["b"]}
        _, other = run(tx, loud, losses())
        np.testing.assert_allclose(other.weights, state.weights, rtol=1e-5)


@EACH_ROW
def test_a_wrong_number_of_tasks_is_refused(row):
    tx = make(row)
    with pytest.raises((InputError, TypeError)):
        run(tx, gradients(2), losses(2))
