"""What every weighting must do, for every row of the table.

Each row is compiled once per shape and kind of input; the compiled step donates its state.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from table import TABLE, Row

from mtl import task_jacobian
from mtl.compilation import compile_quickly
from mtl.errors import InputError
from mtl.weightings import NEEDS, WEIGHTINGS, observe, weighting_state, with_key

NUM_TASKS = 3
EACH_ROW = pytest.mark.parametrize("row", TABLE, ids=lambda r: r.id)


def make(row: Row, num_tasks: int = NUM_TASKS, **more):
    return WEIGHTINGS[row.name](**row.kwargs(num_tasks), **more)


def params():
    return {"w": jnp.zeros((4, 2)), "b": jnp.zeros(3)}


def gradients(num_tasks=NUM_TASKS, seed=0, dtype=jnp.float32):
    rng = np.random.default_rng([seed, num_tasks])
    return {
        "w": jnp.asarray(rng.normal(size=(num_tasks, 4, 2)), dtype),
        "b": jnp.asarray(rng.normal(size=(num_tasks, 3)), dtype),
    }


def losses(num_tasks=NUM_TASKS):
    return jnp.array([0.5, 2.0, 1.0, 3.0, 0.1][:num_tasks])


def step(tx, grads, state, loss):
    """One update with all that any method asks for; the losses fall, each in its own way."""
    tree = grads.stacked() if hasattr(grads, "stacked") else grads
    update, state = tx.update(grads, state, params(), losses=loss, jacobians=(tree, tree))
    return update, observe(state, loss * (1 - 0.1 * loss / jnp.sum(loss)))


@functools.cache
def compiled(row: Row, num_tasks: int = NUM_TASKS, key_shared: bool = False):
    """The weighting of a row and its jitted step `(state, grads, losses)`."""
    tx = make(row, num_tasks, **({"shared": {"w": True, "b": False}} if key_shared else {}))
    traces = []

    def traced(state, grads, loss):
        traces.append(1)
        return step(tx, grads, state, loss)

    jitted = jax.jit(traced, donate_argnums=0, compiler_options=compile_quickly())
    return tx, jitted, traces


def run(row, grads, loss, steps=1, *, key_shared=False):
    tx, jitted, _ = compiled(row, len(loss), key_shared)
    state = tx.init(params())
    for _ in range(steps):
        update, state = jitted(state, grads, loss)
    return update, state


def test_the_table_has_every_weighting():
    assert {row.name for row in TABLE} == set(WEIGHTINGS)


@EACH_ROW
def test_shapes_dtypes_and_state(row):
    before = make(row).init(params())
    update, state = run(row, gradients(), losses())
    chex.assert_trees_all_equal_shapes_and_dtypes(update, params())
    chex.assert_trees_all_equal_shapes_and_dtypes(state, before)
    assert state.weights.shape == (NUM_TASKS,)
    assert np.isfinite(state.weights).all()


@EACH_ROW
def test_the_update_is_the_weighted_sum_it_reports(row):
    if not row.weighted:
        pytest.skip("the method does not weigh this step's gradients")
    update, state = run(row, gradients(), losses(), steps=4)
    expected = jax.tree.map(lambda g: np.tensordot(state.weights, g, axes=1), gradients())
    chex.assert_trees_all_close(update, expected, rtol=1e-5, atol=1e-6)


@EACH_ROW
def test_jit_equals_eager_and_does_not_recompile(row):
    """The jitted step donates its state, so no two leaves of a fresh state may share a buffer."""
    tx, jitted, traces = compiled(row)
    traces.clear()
    eager, inside = tx.init(params()), tx.init(params())
    for seed in range(2):
        update_e, eager = step(tx, gradients(seed=seed), eager, losses())
        update_j, inside = jitted(inside, gradients(seed=seed), losses())
        chex.assert_trees_all_close(update_e, update_j, rtol=1e-5, atol=1e-6)
    for seed in range(2, 5):
        _, inside = jitted(inside, gradients(seed=seed), losses())
    assert len(traces) <= 1


@EACH_ROW
def test_vmap_equals_a_loop_and_scan_keeps_the_state(row):
    tx, jitted, _ = compiled(row)
    many = [gradients(seed=s) for s in range(3)]

    @functools.partial(jax.jit, compiler_options=compile_quickly())
    def at_once(stacked):
        state = tx.init(params())
        batched, _ = jax.vmap(lambda g: step(tx, g, state, losses()))(stacked)

        def body(state, grads):
            update, state = step(tx, grads, state, losses())
            return state, update

        return batched, jax.lax.scan(body, state, stacked)

    batched, (scanned, updates) = at_once(jax.tree.map(lambda *g: jnp.stack(g), *many))
    state = tx.init(params())
    for i, grads in enumerate(many):
        alone, _ = jitted(tx.init(params()), grads, losses())
        chex.assert_trees_all_close(jax.tree.map(lambda u, i=i: u[i], batched), alone, rtol=1e-4, atol=1e-5)
        update, state = jitted(state, grads, losses())
        chex.assert_trees_all_close(jax.tree.map(lambda u, i=i: u[i], updates), update, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(scanned, state, rtol=1e-4, atol=1e-5)


@EACH_ROW
def test_float32_agrees_with_float64(row):
    narrow, _ = run(row, gradients(), losses(), steps=3)
    with jax.enable_x64(True):
        wide_grads = jax.tree.map(lambda g: jnp.asarray(np.asarray(g), jnp.float64), gradients())
        wide, state = run(row, wide_grads, jnp.asarray(np.asarray(losses()), jnp.float64), steps=3)
        assert jax.tree.leaves(wide)[0].dtype == jnp.float64
        chex.assert_trees_all_equal_dtypes(state, make(row).init(params()))
    chex.assert_trees_all_close(
        jax.tree.map(np.asarray, narrow), jax.tree.map(np.asarray, wide), rtol=1e-5, atol=2e-5
    )


@EACH_ROW
def test_bfloat16_gradients(row):
    update, state = run(row, gradients(dtype=jnp.bfloat16), losses())
    assert all(u.dtype == jnp.bfloat16 for u in jax.tree.leaves(update))
    assert state.weights.dtype == jnp.float32
    assert np.isfinite(state.weights).all()


@EACH_ROW
def test_the_order_of_tasks_does_not_matter(row):
    if not row.symmetric:
        pytest.skip("the order of the tasks is given, or drawn")
    order = np.array([2, 0, 1])
    _, state = run(row, gradients(), losses(), steps=4)
    _, moved = run(row, jax.tree.map(lambda g: g[order], gradients()), losses()[order], steps=4)
    np.testing.assert_allclose(moved.weights, state.weights[order], rtol=1e-4, atol=1e-5)


@EACH_ROW
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scaling_law(row, scale):
    if row.power is None:
        pytest.skip("the definition has a step size in units of the gradients or losses")
    steps = 1 if row.name in ("uwl", "imtl_l") else 4  # their learned scales lag behind the losses
    _, one = run(row, gradients(), losses(), steps)
    _, other = run(row, jax.tree.map(lambda g: g * scale, gradients()), losses() * scale, steps)
    np.testing.assert_allclose(
        np.float64(other.weights) / scale**row.power, one.weights, rtol=1e-4, atol=1e-6
    )


@EACH_ROW
def test_one_task_moves_along_its_own_gradient(row):
    grads = gradients(1)
    update, state = run(row, grads, losses(1))
    assert float(state.weights[0]) > 0
    along = optax.tree.vdot(update, {k: g[0] for k, g in grads.items()}) / optax.tree.norm(grads) ** 2
    assert along > 0
    chex.assert_trees_all_close(update, jax.tree.map(lambda g: g[0] * along, grads), rtol=1e-5)


@EACH_ROW
def test_a_task_without_rows_or_gradient(row):
    grads = jax.tree.map(lambda g: g.at[1].set(0.0), gradients())
    update, state = run(row, grads, losses().at[1].set(0.0), steps=3)
    assert np.isfinite(state.weights).all()
    assert all(np.isfinite(u).all() for u in jax.tree.leaves(update))
    assert any(u.any() for u in jax.tree.leaves(update))  # the others still train


@EACH_ROW
def test_an_empty_batch_does_no_harm_to_the_steps_after(row):
    """A task without rows in the first batch, then with rows: finite, and the task trains."""
    tx, jitted, _ = compiled(row)
    empty = jax.tree.map(lambda g: g.at[1].set(0.0), gradients())
    _, state = jitted(tx.init(params()), empty, losses().at[1].set(0.0))
    for seed in range(3):
        update, state = jitted(state, gradients(seed=seed), losses())
    assert np.isfinite(state.weights).all()
    assert all(np.isfinite(u).all() for u in jax.tree.leaves(update))
    assert state.weights[1] != 0 or row.name in ("mgda", "pe_ltr")


@EACH_ROW
def test_all_gradients_zero(row):
    update, state = run(row, jax.tree.map(jnp.zeros_like, gradients()), losses())
    assert np.isfinite(state.weights).all()
    assert not any(u.any() for u in jax.tree.leaves(update))


@EACH_ROW
def test_a_duplicated_task(row):
    grads = jax.tree.map(lambda g: g.at[1].set(g[0]), gradients())
    update, state = run(row, grads, losses().at[1].set(losses()[0]))
    assert np.isfinite(state.weights).all()
    assert row.name == "pe_ltr" or getattr(state, "residual", 0.0) < 1e-5
    assert all(np.isfinite(u).all() for u in jax.tree.leaves(update))


@EACH_ROW
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_gradient_shows(row, bad):
    """Never a finite update, as silently equal weights would be."""
    grads = gradients()
    grads["w"] = grads["w"].at[0, 0, 0].set(bad)
    update, _ = run(row, grads, losses().at[0].set(bad))
    assert not np.isfinite(update["w"]).all()


@EACH_ROW
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_loss_shows_where_losses_are_read(row, bad):
    """With finite gradients: NaN, or the result of any other loss because the method reads none."""
    update, state = run(row, gradients(), losses().at[0].set(bad))
    other, _ = run(row, gradients(), losses() * 7)
    unread = all(np.array_equal(u, o) for u, o in zip(update.values(), other.values(), strict=True))
    assert unread or not np.isfinite(state.weights).all()


@EACH_ROW
def test_lazy_equals_stacked_in_a_chain_with_injected_hyperparameters(row):
    def loss_fn(p, x):
        h = jnp.tanh(x @ p["w"])
        return jnp.array([0.3, 1.0, 2.0]) + jnp.stack([h.sum(), (h**2).sum(), (p["b"] * h.mean()).sum()])

    p = jax.tree.map(lambda x: x + 0.3, params())
    tx = optax.chain(make(row), optax.inject_hyperparams(optax.sgd)(learning_rate=0.5))

    @functools.partial(jax.jit, compiler_options=compile_quickly())
    def lazily(p, x):
        loss, jac = task_jacobian(loss_fn, p, x)
        update, state = step(tx, jac, tx.init(p), loss)
        return loss, jac.stacked(), update, weighting_state(state)

    loss, stacked, lazy, lazy_state = lazily(p, jnp.arange(20.0).reshape(5, 4) / 20)
    plain, plain_state = run(row, stacked, loss)
    chex.assert_trees_all_close(lazy, jax.tree.map(lambda u: -0.5 * u, plain), rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(lazy_state, plain_state, rtol=1e-5, atol=1e-6)


@EACH_ROW
def test_private_parameters_get_their_own_gradient(row):
    """The weights act on `w`; `b`, which is not shared, gets the plain sum."""
    update, state = run(row, gradients(), losses(), key_shared=True)
    chex.assert_trees_all_close(update["b"], gradients()["b"].sum(axis=0), rtol=1e-6)
    if row.weighted:
        expected = np.tensordot(state.weights, gradients()["w"], axes=1)
        chex.assert_trees_all_close(update["w"], expected, rtol=1e-5, atol=1e-6)
    if row.uses_gradients:  # private gradients do not enter the weights
        loud = {"w": gradients()["w"], "b": 100 * gradients()["b"]}
        _, other = run(row, loud, losses(), key_shared=True)
        np.testing.assert_allclose(other.weights, state.weights, rtol=1e-5)


@EACH_ROW
def test_no_part_of_the_state_is_empty(row):
    """XLA places empty arrays as it likes; a sweep over several devices could not pass such a state on."""
    tx = make(row, shared={"w": True, "b": False})
    assert all(x.size for x in jax.tree.leaves(jax.eval_shape(tx.init, params())))


@EACH_ROW
def test_a_wrong_number_of_tasks_is_refused(row):
    tx = make(row)
    with pytest.raises((InputError, TypeError)):
        step(tx, gradients(2), tx.init(params()), losses(2))


@EACH_ROW
def test_a_key_decides_what_is_drawn(row):
    """Different keys give different results exactly for the methods whose state has a key."""
    tx, jitted, _ = compiled(row)
    many = []
    for seed in range(6):
        update, _ = jitted(with_key(tx.init(params()), jax.random.key(seed)), gradients(), losses())
        many.append(np.asarray(update["w"]))
    drawn = any(not np.array_equal(many[0], other) for other in many)
    assert drawn == hasattr(tx.init(params()), "key")


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_what_a_method_needs_is_declared(name):
    """Without what NEEDS names, a method refuses or shows NaN; the others do without."""
    row = next(r for r in TABLE if r.name == name)
    tx = make(row)
    state = tx.init(params())
    if name in NEEDS and NEEDS[name].batches > 1:
        with pytest.raises(InputError, match="jacobians="):
            tx.update(gradients(), state, params(), losses=losses())
        return
    for _ in range(2):
        _, state = tx.update(gradients(), state, params(), losses=losses(), value=0.0)
    assert np.isfinite(state.weights).all() != (name in NEEDS and NEEDS[name].losses_after)
