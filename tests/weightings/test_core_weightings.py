"""What is special to static, loss_norm, uwl, mgda and pe_ltr."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

from mtl import weightings
from mtl.compilation import compile_quickly
from mtl.errors import InputError
from mtl.jacobian import gramian
from mtl.solvers import simplex_qp
from mtl.weightings.pe_ltr import two_steps


def rows_with_gramian(gram) -> jnp.ndarray:
    """Two gradients with a given positive definite Gramian."""
    return jnp.asarray(np.linalg.cholesky(np.asarray(gram, np.float64)), jnp.float32)


ORACLE = [[4.0, -1.5], [-1.5, 1.0]]


@functools.cache
def compiled(tx):
    return jax.jit(tx.update, compiler_options=compile_quickly())


def weights_of(tx, grads, losses=None, steps=1):
    state = tx.init(jnp.zeros(grads.shape[1:]))
    for _ in range(steps):
        update, state = compiled(tx)(grads, state, losses=losses)
    return update, state


# ---- mgda ---------------------------------------------------------------------------------------


def test_mgda_on_the_sanity_gramian():
    _, state = weights_of(weightings.mgda(2), rows_with_gramian(ORACLE))
    np.testing.assert_allclose(state.weights, [0.3125, 0.6875], rtol=1e-5)
    assert float(state.residual) < 1e-6


@pytest.mark.parametrize(
    ("normalizer", "scale"),
    [("none", [1, 1]), ("l2", [2, 1]), ("loss", [5, 0.5]), ("loss+", [10, 0.5])],
)
def test_mgda_normalisers_in_both_conventions(normalizer, scale):
    """The QP is solved on G / (N Nᵀ); raw applies a to g, scaled applies a to g / N."""
    grads, losses = rows_with_gramian(ORACLE), jnp.array([5.0, 0.5])
    scale = np.asarray(scale, np.float64)
    g = np.asarray(ORACLE) / np.outer(scale, scale)
    a0 = np.clip((g[1, 1] - g[0, 1]) / (g[0, 0] + g[1, 1] - 2 * g[0, 1]), 0, 1)
    a = np.array([a0, 1 - a0])
    _, raw = weights_of(weightings.mgda(2, normalizer=normalizer), grads, losses)
    np.testing.assert_allclose(raw.weights, a, rtol=1e-5)
    _, scaled = weights_of(weightings.mgda(2, normalizer=normalizer, convention="scaled"), grads, losses)
    np.testing.assert_allclose(scaled.weights, a / scale, rtol=1e-5)


def test_mgda_l2_with_two_tasks():
    """Raw is plain averaging; scaled is the bisector of the two gradients."""
    grads = jax.random.normal(jax.random.key(0), (2, 9)) * jnp.array([[1.0], [30.0]])
    _, raw = weights_of(weightings.mgda(2, normalizer="l2"), grads)
    np.testing.assert_allclose(raw.weights, [0.5, 0.5], atol=1e-5)
    update, _ = weights_of(weightings.mgda(2, normalizer="l2", convention="scaled"), grads)
    unit = grads / jnp.linalg.norm(grads, axis=1, keepdims=True)
    cosines = unit @ update / jnp.linalg.norm(update)
    np.testing.assert_allclose(cosines[0], cosines[1], rtol=1e-4)


@pytest.mark.parametrize("num_tasks", [2, 3, 5, 8])
def test_mgda_does_not_conflict_with_any_task(num_tasks):
    tx = weightings.mgda(num_tasks)
    for seed in range(20):
        grads = jax.random.normal(jax.random.key(seed), (num_tasks, 20))
        update, _ = weights_of(tx, grads)
        slopes = grads @ update
        assert float(slopes.min()) >= float(update @ update) * (1 - 1e-4) - 1e-6


def test_mgda_stands_still_at_a_pareto_stationary_point_and_only_there():
    opposed = jnp.array([[1.0, 2.0, 0.0], [-3.0, -6.0, 0.0]])
    tx = weightings.mgda(2)
    update, _ = weights_of(tx, opposed)
    np.testing.assert_allclose(update, 0, atol=1e-5)
    update, _ = weights_of(tx, opposed.at[0, 2].set(0.5))
    assert float(jnp.linalg.norm(update)) > 0.1


def test_mgda_without_the_number_of_tasks():
    _, state = weights_of(weightings.mgda(), rows_with_gramian(ORACLE))
    np.testing.assert_allclose(state.weights, [0.3125, 0.6875], rtol=1e-5)


def test_chain_from_the_design():
    tx = optax.chain(weightings.mgda(), optax.adam(1e-3))
    state = tx.init(jnp.zeros(2))
    update, _ = tx.update(rows_with_gramian(ORACLE), state, jnp.zeros(2), losses=jnp.ones(2))
    assert update.shape == (2,)


# ---- pe_ltr -------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [False, True])
def test_pe_ltr_is_not_swapped(exact):
    _, state = weights_of(weightings.pe_ltr(2, exact=exact), jnp.diag(jnp.array([1.0, 2.0])))
    np.testing.assert_allclose(state.weights, [0.8, 0.2], atol=1e-6)
    assert float(state.residual) < 1e-6


@pytest.mark.parametrize("floors", [(0.0, 0.0), (0.5, 0.0), (0.2, 0.2), (0.0, 0.9), (0.4, 0.6)])
def test_pe_ltr_two_steps_are_exact_for_two_tasks(floors):
    in_two_steps, exactly = (weightings.pe_ltr(floors=floors, exact=exact) for exact in (False, True))
    for seed in range(10):
        grads = jax.random.normal(jax.random.key(seed), (2, 6)) * jnp.array([[1.0], [3.0]])
        _, two = weights_of(in_two_steps, grads)
        _, exact = weights_of(exactly, grads)
        np.testing.assert_allclose(two.weights, exact.weights, atol=1e-5)
        assert (np.asarray(two.weights) >= np.asarray(floors) - 1e-6).all()
        np.testing.assert_allclose(two.weights.sum(), 1, atol=1e-6)


def test_pe_ltr_two_steps_against_the_paper_in_numpy(x64):
    """The bordered system by NumPy's pseudo-inverse, the projection by SciPy's NNLS-type solver."""
    floors = np.array([0.1, 0.05, 0.2, 0.0])
    solve = jax.jit(two_steps)
    rng = np.random.default_rng(0)
    for _ in range(10):
        jac = rng.normal(size=(4, 7)) * rng.uniform(0.5, 3, size=(4, 1))
        gram = jac @ jac.T
        border = np.block([[gram, np.ones((4, 1))], [np.ones((1, 4)), np.zeros((1, 1))]])
        target = np.append(-gram @ floors, 1 - floors.sum())
        relaxed = (np.linalg.pinv(border) @ target)[:4]
        free = scipy.optimize.minimize(
            lambda w, r=relaxed: 0.5 * ((w - r) ** 2).sum(),
            np.full(4, (1 - floors.sum()) / 4),
            jac=lambda w, r=relaxed: w - r,
            bounds=[(0, None)] * 4,
            constraints={"type": "eq", "fun": lambda w: w.sum() - (1 - floors.sum())},
            options={"ftol": 1e-15, "maxiter": 300},
        ).x
        found = solve(jnp.asarray(gram), jnp.asarray(floors))
        np.testing.assert_allclose(found, free + floors, atol=1e-6)


def test_pe_ltr_two_steps_can_miss_the_optimum_and_say_so(x64):
    """For three tasks the projection is not the QP's answer; the residual shows it."""
    rng = np.random.default_rng(1)
    gaps = []
    in_two_steps, exactly = weightings.pe_ltr(3), weightings.pe_ltr(3, exact=True)
    for _ in range(50):
        jac = rng.normal(size=(3, 4)) * rng.uniform(0.2, 4, size=(3, 1))
        _, two = weights_of(in_two_steps, jnp.asarray(jac))
        _, exact = weights_of(exactly, jnp.asarray(jac))
        gram = jac @ jac.T
        length = [float(w @ gram @ w) for w in (np.asarray(two.weights), np.asarray(exact.weights))]
        assert length[1] <= length[0] * (1 + 1e-6)
        assert float(exact.residual) < 1e-6
        gaps.append((length[0] / length[1] - 1, float(two.residual)))
    worst_gap, its_residual = max(gaps)
    assert worst_gap > 1e-3
    assert its_residual > 1e-3


def test_pe_ltr_with_singular_gramian_splits_duplicates_evenly():
    grads = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    _, state = weights_of(weightings.pe_ltr(3), grads)
    np.testing.assert_allclose(state.weights, [0.4, 0.4, 0.2], atol=1e-5)


def test_mgda_with_floors_is_pe_ltr_exact():
    grads = jax.random.normal(jax.random.key(5), (4, 9))
    floors = jnp.array([0.1, 0.2, 0.0, 0.3])
    _, state = weights_of(weightings.pe_ltr(4, floors=(0.1, 0.2, 0.0, 0.3), exact=True), grads)
    np.testing.assert_allclose(state.weights, jax.jit(simplex_qp)(gramian(grads), floors).weights, atol=1e-6)


# ---- uwl ----------------------------------------------------------------------------------------


def test_uwl_weights_at_the_optimum_of_s():
    """½e^(−s)L + ½s is least at weight 1/(2L)·…: a = b / L."""
    losses = jnp.array([0.5, 4.0])
    tx = weightings.uwl(2, ("regression", "binary"), optimizer=optax.sgd(0.3))
    _, state = weights_of(tx, jnp.ones((2, 3)), losses, steps=400)
    np.testing.assert_allclose(state.weights, 0.5 / losses, rtol=1e-3)
    # regression: s = log L; classification: e^(−s) = 1/(2L).
    np.testing.assert_allclose(state.log_variances, jnp.log(losses * jnp.array([1.0, 2.0])), atol=1e-3)


def test_uwl_first_step_by_hand():
    losses = jnp.array([3.0, 5.0])
    tx = weightings.uwl(2, ("regression", "multiclass"), optimizer=optax.sgd(0.1), init=(0.0, jnp.log(2.0)))
    _, state = weights_of(tx, jnp.ones((2, 3)), losses)
    np.testing.assert_allclose(state.weights, [0.5, 0.5], rtol=1e-6)  # ½e⁰ and e^(−log 2)
    # ds = ½ − a L
    np.testing.assert_allclose(
        state.log_variances, [-0.1 * (0.5 - 1.5), jnp.log(2.0) - 0.1 * (0.5 - 2.5)], rtol=1e-5
    )


def test_uwl_coefficients_and_the_variant_that_adds_s():
    tx = weightings.uwl(2, loss_coefficient=(2.0, 3.0), log_coefficient=1.0, optimizer=optax.sgd(0.3))
    losses = jnp.array([0.5, 4.0])
    _, state = weights_of(tx, jnp.ones((2, 3)), losses, steps=400)
    np.testing.assert_allclose(state.weights, 1.0 / losses, rtol=1e-3)


def test_uwl_is_not_clamped():
    tx = weightings.uwl(1, optimizer=optax.sgd(1.0))
    _, state = weights_of(tx, jnp.ones((1, 3)), jnp.array([1e-6]), steps=200)
    assert float(state.log_variances[0]) < -9


def test_uwl_ignores_a_batch_without_rows():
    tx = weightings.uwl(2, optimizer=optax.sgd(0.1))
    _, state = weights_of(tx, jnp.ones((2, 3)), jnp.array([0.0, 3.0]), steps=5)
    assert float(state.log_variances[0]) == 0.0
    assert float(state.log_variances[1]) != 0.0


def test_frozen_uwl_averages_the_span_before_it_freezes():
    free = weightings.uwl(2, optimizer=optax.sgd(0.1))
    frozen = weightings.uwl(2, optimizer=optax.sgd(0.1), freeze_at=6, average_last=4)
    grads, losses = jnp.ones((2, 3)), jnp.array([3.0, 0.2])
    history = [weights_of(free, grads, losses, steps=n)[1].weights for n in range(1, 7)]
    expected = np.mean(history[2:6], axis=0)
    for steps in (7, 8, 15):
        _, state = weights_of(frozen, grads, losses, steps=steps)
        np.testing.assert_allclose(state.weights, expected, rtol=1e-5)
    _, before = weights_of(frozen, grads, losses, steps=6)
    np.testing.assert_allclose(before.weights, history[5], rtol=1e-6)
    np.testing.assert_allclose(before.average, expected, rtol=1e-5)


# ---- static and loss_norm -------------------------------------------------------------------------


def test_static_geometric_schedule_of_ple():
    tx = weightings.static((2.0, 1.0), decay=(0.5, 1.0), decay_steps=2)
    seen = [weights_of(tx, jnp.ones((2, 1)), steps=n)[1].weights for n in (1, 3, 5)]
    np.testing.assert_allclose(seen, [[2, 1], [1, 1], [0.5, 1]], rtol=1e-6)


def test_static_with_an_optax_schedule():
    schedule = optax.linear_schedule(1.0, 0.0, transition_steps=4)
    tx = weightings.static(lambda k: jnp.stack([schedule(k), 1.0 - schedule(k)]), num_tasks=2)
    seen = [weights_of(tx, jnp.ones((2, 1)), steps=n)[1].weights for n in (1, 3, 5)]
    np.testing.assert_allclose(seen, [[1, 0], [0.5, 0.5], [0, 1]], atol=1e-6)


def test_static_is_the_gradient_of_the_weighted_loss():
    grads = jax.random.normal(jax.random.key(0), (3, 5))
    update, _ = weights_of(weightings.static((1.0, 0.0, 2.5)), grads)
    np.testing.assert_allclose(update, grads[0] + 2.5 * grads[2], rtol=1e-5)


def test_loss_norm_is_the_inverse_running_mean():
    tx = weightings.loss_norm(2, weights=(1.0, 3.0), decay=0.5)
    state = tx.init(jnp.zeros(1))
    for losses in ([4.0, 1.0], [2.0, 0.0], [8.0, 3.0]):
        _, state = tx.update(jnp.ones((2, 1)), state, losses=jnp.asarray(losses))
    first = (4 * 0.25 + 2 * 0.5 + 8) / (0.25 + 0.5 + 1)
    second = (1 * 0.5 + 3) / (0.5 + 1)  # the batch without rows does not count
    np.testing.assert_allclose(state.weights, [1 / first, 3 / second], rtol=1e-6)


# ---- step-length normalisation, builder -------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(weightings.WEIGHTINGS))
def test_normalisation_of_the_step_length(name):
    grads = jax.random.normal(jax.random.key(0), (2, 8)) * jnp.array([[1.0], [5.0]])
    losses = jnp.array([0.3, 2.0])
    kinds = ("regression", "binary")
    combines = name not in ("db_mtl", "moco", "graddrop")  # these three have weights of other vectors
    ways = ("none", "sum_one", "mean_norm") if combines else ("none", "mean_norm")

    def first_step(how):
        tx = weightings.build({"name": name, "normalize": how}, kinds=kinds)
        return tx.update(grads, tx.init(grads[0]), losses=losses, jacobians=(grads, grads))

    found = jax.jit(lambda: {how: first_step(how) for how in ways}, compiler_options=compile_quickly())()
    update = {how: found[how][0] for how in ways}
    state = {how: found[how][1] for how in ways}
    if combines:
        np.testing.assert_allclose(np.abs(state["sum_one"].weights).sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(
        jnp.linalg.norm(update["mean_norm"]), jnp.linalg.norm(grads.mean(axis=0)), rtol=1e-5
    )
    for how in ways[1:]:
        if combines:
            np.testing.assert_allclose(update[how], state[how].weights @ grads, rtol=1e-4, atol=1e-6)
        cosine = update[how] @ update["none"] / jnp.linalg.norm(update[how]) / jnp.linalg.norm(update["none"])
        np.testing.assert_allclose(cosine, 1, rtol=1e-5)


def test_the_builder_keeps_scalarisations_whole_and_restricts_balancers():
    """A weighted loss weighs heads too; a balancer leaves them their own gradient."""
    grads = {"shared": jnp.ones((2, 3)), "head": jnp.ones((2, 3))}
    shared = {"shared": True, "head": False}
    head = {}
    for spec in ({"name": "static", "weights": (3.0, 4.0)}, "mgda"):
        tx = weightings.build(spec, kinds=("binary",) * 2, shared=shared)
        update, _ = tx.update(grads, tx.init(None), losses=jnp.ones(2))
        head[spec if isinstance(spec, str) else spec["name"]] = float(update["head"][0])
    assert head == {"static": 7.0, "mgda": 2.0}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: weightings.static((1.0, -1.0)), "expected numbers ≥ 0"),
        (lambda: weightings.static((0.0, 0.0)), "not all of them zero"),
        (lambda: weightings.static((1.0, 2.0), 3), "3 numbers"),
        (lambda: weightings.static(1.0), "needs num_tasks"),
        (lambda: weightings.static((1.0, float("nan"))), "finite"),
        (lambda: weightings.static("heavy"), "one number per task"),
        (lambda: weightings.static((1.0, 1.0), decay=0.0), "decay"),
        (lambda: weightings.static((1.0, 1.0), decay_steps=0), "decay_steps"),
        (lambda: weightings.uwl(0), "num_tasks is 0"),
        (lambda: weightings.uwl(2, ("binary", "ordinal")), "kinds"),
        (lambda: weightings.uwl(2, learning_rate=0.0), "learning_rate"),
        (lambda: weightings.uwl(2, freeze_at=0), "freeze_at"),
        (lambda: weightings.uwl(2, log_coefficient=-1.0), "log_coefficient"),
        (lambda: weightings.loss_norm(2, decay=1.5), "decay"),
        (lambda: weightings.mgda(2, normalizer="l3"), "unknown MGDA normalizer 'l3'"),
        (lambda: weightings.mgda(2, convention="odd"), "convention"),
        (lambda: weightings.pe_ltr(2, floors=(-0.1, 0.2)), "expected numbers ≥ 0"),
        (lambda: weightings.pe_ltr(2, floors=(0.6, 0.6)), "sum to 1.2"),
        (lambda: weightings.pe_ltr(3, floors=(0.1, 0.1)), "3 numbers"),
        (lambda: weightings.build("mgdaa", kinds=("binary",)), "did you mean 'mgda'"),
        (lambda: weightings.build({"name": "mgda", "flors": 1}, kinds=("binary",)), "unknown argument"),
        (lambda: weightings.build({"name": "mgda", "normalize": "max"}, kinds=("binary",)), "normalization"),
        (lambda: weightings.build({"name": "static", "num_tasks": 2}, kinds=("binary",)), "unknown argument"),
        (lambda: weightings.weighting_state(optax.adam(1e-3).init(jnp.zeros(2))), "no weighting"),
    ],
)
def test_mistakes_are_named(make, says):
    with pytest.raises(InputError, match=says):
        make()
