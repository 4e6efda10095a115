"""PCD: its definition step by step, the guarantees of the paper, and the cases without a solution."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from on_gramians import apply, cosine, random_rows, weights

from mtl.compilation import compile_quickly
from mtl.errors import InputError
from mtl.weightings import pcd

TOLERANCE = 1e-9


def best_of_all_working_sets(rows, tau):
    """The QP by trying every set of active constraints, as the paper does; None without a solution."""
    gram = rows @ rows.T
    demand = tau * np.diag(gram)[1:]
    found = []
    for size in range(len(rows)):
        for active in itertools.combinations(range(1, len(rows)), size):
            active = list(active)
            block = gram[np.ix_(active, active)]
            if size and np.linalg.eigvalsh(block)[0] < TOLERANCE:
                continue
            mu = np.linalg.solve(block, (demand[np.array(active, int) - 1] - gram[active, 0]))
            d = rows[0] + mu @ rows[active]
            if (mu >= -TOLERANCE).all() and (rows[1:] @ d >= demand - TOLERANCE).all():
                found.append(d)
    return min(found, key=lambda d: np.linalg.norm(d - rows[0])) if found else None


def drifting(steps, num_tasks, seed=0):
    """Conflicting gradients `[K, T, P]` whose lengths change from step to step."""
    rng = np.random.default_rng([seed, num_tasks])
    common = np.outer(rng.normal(size=num_tasks), rng.normal(size=2 * num_tasks))
    rows = rng.normal(size=(steps, num_tasks, 2 * num_tasks)) + common
    return rows * 10 ** rng.uniform(-1, 1, size=(steps, num_tasks, 1))


@functools.cache
def compiled(num_tasks, primary):
    """A step that has the numbers given as arguments: one program per number of tasks and dtype."""

    def update_once(g, state, numbers):
        return pcd(num_tasks, primary=primary, **numbers).update(g, state)

    return jax.jit(update_once, compiler_options=compile_quickly())


def run(steps, *, primary=0, **numbers):
    """Updates and states for a sequence of gradients."""
    num_tasks = len(steps[0])
    state, out = pcd(num_tasks, primary=primary, **numbers).init(jnp.zeros(steps[0].shape[1:])), []
    for g in steps:
        update, state = compiled(num_tasks, primary)(jnp.asarray(g), state, numbers)
        out.append((np.asarray(update), state))
    return out


@pytest.mark.parametrize("num_tasks", [2, 3, 5])
@pytest.mark.parametrize("tau", [0.0, 0.02, 0.7])
def test_by_its_definition(num_tasks, tau, x64):
    """Running means with bias correction, then the QP, then the length of the primary gradient."""
    beta, steps = 0.8, drifting(6, num_tasks)
    v, bound = np.zeros(num_tasks), 0
    for k, (update, state) in enumerate(run(steps, tau=tau, beta=beta), start=1):
        rows = steps[k - 1]
        v = beta * v + (1 - beta) * np.sum(rows**2, axis=1)
        d = best_of_all_working_sets(rows / np.sqrt(v / (1 - beta**k))[:, None], tau)
        np.testing.assert_allclose(update, d / np.linalg.norm(d) * np.linalg.norm(rows[0]), rtol=1e-5)
        assert float(state.residual) < 1e-10
        bound += bool(np.asarray(state.weights)[1:].any())
    assert bound > 0


def test_default_decay_is_corrected_for_the_start_at_zero(x64):
    """With β = .999 the rms after k equal steps is the norm itself, from the first one on."""
    rows = random_rows(3, seed=1)
    for _, state in run([rows] * 3):
        np.testing.assert_allclose(state.rms, np.linalg.norm(rows, axis=1), rtol=1e-6)


@settings(max_examples=40)
@given(size=st.integers(2, 6), seed=st.integers(0, 10_000), tau=st.sampled_from([0.0, 0.02, 0.5, 1.0]))
def test_every_task_gets_its_share_and_nothing_is_given_away(size, seed, tau):
    """The optimality conditions on d̃, rebuilt from the weights of a first step (where ‖g̃_t‖ = 1)."""
    rows = random_rows(size, 2 * size, seed, spread=3)
    with jax.enable_x64(True):
        ((update, state),) = run([rows], tau=tau)
    norms = np.linalg.norm(rows, axis=1)
    y = np.asarray(state.weights, np.float64) * norms
    y = y / y[0]
    units = rows / norms[:, None]
    slack = units @ (y @ units) - tau
    assert (y >= 0).all()
    assert slack[1:].min() > -1e-5 * y.sum()
    assert np.abs(slack * y)[1:].max() < 1e-4 * y.sum() ** 2
    assert np.linalg.norm(update) == pytest.approx(norms[0], rel=1e-9)
    assert float(state.residual) < 1e-10


@pytest.mark.parametrize("num_tasks", [3, 16, 64])
def test_residual_in_float32(num_tasks):
    tx = pcd(num_tasks, tau=0.5)
    rng = np.random.default_rng(num_tasks)
    rows = rng.normal(size=(20, num_tasks, 2 * num_tasks)) * 10 ** rng.uniform(-4, 4, size=(20, num_tasks, 1))
    solve = jax.jit(jax.vmap(lambda g: tx.update(g, tx.init(g[0]))[1]))
    state = solve(jnp.asarray(rows, jnp.float32))
    assert float(jnp.max(state.residual)) <= 1e-6
    assert np.asarray(state.weights)[:, 1:].any()


def test_a_primary_gradient_that_serves_all_is_taken_as_it_is():
    rows = np.abs(random_rows(4, seed=7))
    np.testing.assert_allclose(weights("pcd", rows), (1, 0, 0, 0))


@pytest.mark.parametrize("factors", [(1, 1e-6, 1e6), (1, 1e9, 1), (1e-5, 1, 1)])
def test_the_unit_of_a_loss_plays_no_role(factors, x64):
    steps, factors = drifting(4, 3), np.array(factors)[:, None]
    for (one, _), (other, _) in zip(run(steps), run(steps * factors), strict=True):
        np.testing.assert_allclose(other / factors[0], one, rtol=1e-5)


def test_shares_and_the_primary_task_go_by_index(x64):
    steps, order = drifting(3, 3), [1, 2, 0]
    first = run(steps[:, order], tau=(0.1, 0.6))
    other = run(steps, tau=(0.6, 0.1), primary=1)
    for (update, state), (same, moved) in zip(first, other, strict=True):
        np.testing.assert_allclose(same, update, rtol=1e-9)
        np.testing.assert_allclose(np.asarray(moved.weights)[order], state.weights, rtol=1e-6)
    assert (np.asarray(state.weights) > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_contradicting_shares_are_dropped_and_the_residual_says_so(dtype, x64):
    """Two secondary gradients that are opposed (T = 3), or add up to zero (T = 4)."""
    a, b, c = np.eye(3)
    for rows in ([a, b, -b], [a, b + c, b - c, -2 * b]):
        rows = np.array(rows, dtype) * np.array([2, *np.arange(1, len(rows))], dtype)[:, None]
        update, state = apply("pcd", rows)
        np.testing.assert_allclose(update, rows[0], atol=1e-12)
        assert float(state.residual) > 0.01


def test_opposed_tasks_can_both_be_left_alone(x64):
    """With τ = 0 a direction at right angles to both is allowed."""
    rows = np.array([[3.0, 4.0], [2.0, 0.0], [-1.0, 0.0]])
    update, state = apply("pcd", rows, tau=0.0)
    np.testing.assert_allclose(update, (0, 5), atol=1e-9)
    assert float(state.residual) < 1e-10


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_direction_that_vanishes_is_no_step(dtype, x64):
    """Only opposed gradients, τ = 0: d̃ = 0, which has no length to bring to ‖g_0‖."""
    row = np.array([0.3, -1.7, 0.6], dtype)
    update, state = apply("pcd", np.stack([row, -0.7 * row]), tau=0.0)
    np.testing.assert_array_equal(update, 0)
    np.testing.assert_array_equal(state.weights, 0)


def test_with_a_share_the_opposed_task_is_followed(x64):
    """d̃ = τ g̃_1, at the length of g_0: the demand comes first."""
    update, _ = apply("pcd", np.array([[2.0, 0.0], [-5.0, 0.0]]), tau=0.3)
    np.testing.assert_allclose(update, (-2, 0), atol=1e-9)


def test_without_a_primary_gradient_there_is_no_step():
    rows = random_rows(3, seed=2)
    rows[0] = 0.0
    update, state = apply("pcd", rows, tau=0.5)
    np.testing.assert_array_equal(update, 0)
    assert np.isfinite(state.residual)


def test_a_task_without_rows_keeps_its_mean_and_frees_the_others(x64):
    steps = drifting(3, 3)
    steps[1, 2] = 0.0
    (_, before), (update, during), (_, after) = run(steps, tau=0.5, beta=0.5)
    assert during.rms[2] == before.rms[2]
    assert during.batches[2] == before.batches[2]
    two = run(steps[:2, :2], tau=0.5, beta=0.5)[1][0]
    np.testing.assert_allclose(update, two, rtol=1e-9)
    squares = np.sum(steps[[0, 2], 2] ** 2, axis=1)
    assert float(after.rms[2]) ** 2 == pytest.approx((0.5 * squares[0] + squares[1]) / 1.5, rel=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_gradient_leaves_the_memory_alone(bad):
    rows = random_rows(3, seed=3)
    broken = rows.copy()
    broken[1, 0] = bad
    (_, before), (update, state), _ = run([rows, broken, rows])
    assert np.isnan(update).all()
    assert np.isnan(state.residual)
    np.testing.assert_array_equal(state.rms, before.rms)
    np.testing.assert_array_equal(state.batches, before.batches)


def test_one_task_is_its_own_gradient():
    rows = random_rows(1, seed=4)
    np.testing.assert_allclose(apply("pcd", rows)[0], rows[0], rtol=1e-6)


def test_larger_shares_turn_towards_the_secondary_task(x64):
    rows = np.array([[1.0, 0.0], [-0.6, 0.8]])
    along = [cosine(run([rows], tau=tau)[0][0], rows[1]) for tau in (0.0, 0.1, 0.4, 0.9)]
    assert along[0] == pytest.approx(0.0, abs=1e-9)
    assert (np.diff(along) > 0.05).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tau": 1.5}, "tau is 1.5, expected numbers in"),
        ({"tau": (0.1, -0.1)}, "expected numbers in"),
        ({"tau": (0.1, 0.1, 0.1)}, "expected 2 numbers"),
        ({"tau": "much"}, "expected one number per task"),
        ({"beta": 1.0}, "beta is 1.0"),
        ({"primary": 3}, "primary is 3, expected the index of a task, 0 to 2"),
        ({"primary": -1}, "primary is -1"),
        ({"primary": "click"}, "primary is 'click'"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        pcd(3, **arguments)
