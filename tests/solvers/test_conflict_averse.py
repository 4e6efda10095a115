import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from gramians import FULL_RANK, LOW_RANK, OPPOSED, SIZES, UNEVEN, in_blocks, random_gramians
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mtl.solvers import QPSolution, conflict_averse, simplex_qp

SHORTEST = jax.jit(lambda gram: simplex_qp(gram).weights)
ORACLE = np.array([[4.0, -1.5], [-1.5, 1.0]])


SOLVE = in_blocks(jax.jit(jax.vmap(conflict_averse, in_axes=(0, None))))
"""The radius is an argument of the program; `test_radii_as_arguments_of_one_program` has it as a number."""


def one(gram, radius: float) -> QPSolution:
    """A single call."""
    return jax.tree.map(lambda x: x[0], SOLVE(np.asarray(gram)[None], radius))


def mean_norm(gram: np.ndarray) -> float:
    return np.sqrt(max(gram.sum(), 0.0)) / len(gram)


def dual_value(gram: np.ndarray, w: np.ndarray, radius: float) -> float:
    """F(w) = (G1/T)ᵀw + c‖g₀‖ √(wᵀGw), an upper bound of every direction's worst slope."""
    square = w @ gram @ w
    rounding = 64 * np.finfo(np.float64).eps * (w @ np.sqrt(np.diag(gram))) ** 2
    return gram.mean(axis=1) @ w + radius * mean_norm(gram) * np.sqrt(square if square > rounding else 0.0)


def gap(gram: np.ndarray, a: np.ndarray, radius: float) -> float:
    """What the worst slope lacks to a dual bound, over max_i d_i (1 + c)‖g₀‖, in NumPy.

    Every w of the simplex gives a bound; the two that matter are w ∝ a − 1/T and the shortest Jᵀw.
    """
    pull = np.maximum(a - 1 / len(a), 0.0)
    d = np.sqrt(np.diag(gram))
    shortest = np.asarray(SHORTEST(gram / np.outer(d, d))) / d
    bound = min(dual_value(gram, w / w.sum(), radius) for w in (pull, shortest) if w.any())
    return (bound - (gram @ a).min()) / (d.max() * (1 + radius) * mean_norm(gram))


def distance(gram: np.ndarray, a: np.ndarray) -> float:
    """‖Jᵀa − g₀‖ / ‖g₀‖."""
    away = a - 1 / len(a)
    return np.sqrt(max(away @ gram @ away, 0.0)) / mean_norm(gram)


# ---- residuals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "num"), SIZES)
def test_residual_in_float32(size, num):
    solution = SOLVE(random_gramians(num, size, 0).astype(np.float32), 0.5)
    assert float(jnp.max(solution.residual)) <= 1e-5
    assert np.isfinite(solution.weights).all()


@pytest.mark.parametrize(("size", "num"), SIZES)
def test_residual_in_float64(size, num, x64):
    grams = random_gramians(num, size, 0)
    solution = SOLVE(grams, 0.5)
    assert solution.weights.dtype == jnp.float64
    assert float(jnp.max(solution.residual)) <= 1e-10
    for gram, a in zip(grams, np.asarray(solution.weights)):
        assert gap(gram, a, 0.5) <= 1e-10
        assert distance(gram, a) <= 0.5 * (1 + 1e-6)


@pytest.mark.parametrize(("size", "num"), SIZES)
def test_residual_with_a_ball_that_holds_the_origin(size, num):
    grams = random_gramians(num // 4, size, 0, (FULL_RANK,))
    assert float(jnp.max(SOLVE(grams.astype(np.float32), 1.5).residual)) <= 1e-5
    with jax.enable_x64(True):
        assert float(jnp.max(SOLVE(grams, 1.5).residual)) <= 1e-10


@pytest.mark.parametrize(("size", "radius"), [(2, 1.0), (2, 1.5), (3, 0.9), (4, 0.9), (8, 0.9), (8, 1.0)])
def test_opposed_gradients_get_the_nearest_direction_that_harms_no_task(size, radius, x64):
    """With g_i = −s g_j the best worst slope in the ball is 0; compared with SciPy's projection of g₀."""
    rng = np.random.default_rng(size)
    inside = 0
    for _ in range(20):
        jac = rng.normal(size=(size, size)) + 0.5
        jac[-1] = -jac[0] * rng.uniform(0.5, 2)
        a, residual = one(jac @ jac.T, radius)
        pull, away = scipy.optimize.nnls(jac.T, -jac.mean(axis=0))  # x = g₀ + Jᵀv is what is left over
        projection = jac.mean(axis=0) + jac.T @ pull
        np.testing.assert_allclose(away, np.linalg.norm(projection), atol=1e-12)
        assert float(residual) <= 1e-9
        distance = np.linalg.norm(jac.T @ pull) / np.linalg.norm(jac.mean(axis=0))
        if distance <= radius * (1 - 1e-6) or radius == 1:
            inside += 1
            np.testing.assert_allclose(jac.T @ np.asarray(a), projection, atol=1e-6)
    assert inside


@pytest.mark.parametrize("size", [2, 4, 8, 32])
@pytest.mark.parametrize("kind", [LOW_RANK, OPPOSED])
@pytest.mark.parametrize("radius", [0.5, 1.5])
def test_near_stationary_points_the_residual_is_the_true_one(size, kind, radius, x64):
    """Where Jᵀw vanishes its direction is lost to rounding; the certificate says how much that costs."""
    grams = random_gramians(60, size, 1, (kind,))
    weights, residual = map(np.asarray, SOLVE(grams, radius))
    assert np.isfinite(weights).all()
    for gram, a, r in zip(grams, weights, residual):
        d = np.sqrt(np.diag(gram))
        slope = gram @ a / d
        if not (a > 1 / size).any():  # the mean gradient itself, which opposes no task, is the projection
            assert slope.min() >= -1e-9 * mean_norm(gram)
            continue
        w = np.maximum(a - 1 / size, 0.0)
        beta = d * w
        level = (w / w.sum()) @ (gram @ a)
        below = level / d - slope
        violation = np.maximum(below, -below * beta / beta.max()).max() / ((1 + radius) * mean_norm(gram))
        # a − 1/T and Ga are differences of terms of this size.
        noise = 1e-14 * (1 + np.abs(d * a).sum()) * max(1.0, np.abs(d * a).sum() / mean_norm(gram))
        np.testing.assert_allclose(r, violation, rtol=1e-3, atol=1e-9 + noise)
        assert (
            np.abs(d * (a - 1 / size)).sum()
            <= 1.01 * radius * mean_norm(gram) / np.finfo(np.float64).eps ** 0.5
        )


# ---- answers known otherwise --------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3, 5, 8])
@pytest.mark.parametrize("radius", [0.2, 0.5, 1.5])
def test_matches_scipy(size, radius, x64):
    """The dual by SLSQP, as in the reference code, but in float64 and to a tight tolerance."""
    grams = random_gramians(8, size, 2, (FULL_RANK,))
    for gram, a in zip(grams, np.asarray(SOLVE(grams, radius).weights)):
        gram = gram / np.trace(gram)
        found = scipy.optimize.minimize(
            lambda w, gram=gram: dual_value(gram, w, radius),
            np.full(size, 1 / size),
            bounds=[(0, 1)] * size,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(size)},
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 500},
        )
        w = found.x
        expected = 1 / size + radius * mean_norm(gram) / np.sqrt(w @ gram @ w) * w
        np.testing.assert_allclose(a, expected, atol=2e-4 * np.abs(expected).max())
        assert (
            dual_value(gram, np.maximum(a - 1 / size, 0) / (a - 1 / size).sum(), radius) <= found.fun + 1e-12
        )


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_small_problems_by_hand(scale):
    solution = one(jnp.asarray(ORACLE * scale, jnp.float32), 0.5)
    np.testing.assert_allclose(solution.weights, [0.5, 0.5 + 0.25 * 2**0.5], rtol=1e-5)  # (.5, .8536)
    assert float(solution.residual) <= 1e-6
    # Orthogonal unit gradients: w = 1/T, ‖g₀‖ = ‖Jᵀw‖ = 1/√T, so a = (1 + c)/T.
    same = one(jnp.eye(4) * scale, 0.5)
    np.testing.assert_allclose(same.weights, 1.5 / 4, rtol=1e-5)


def test_radius_zero_is_the_mean_and_one_task_its_gradient():
    grams = random_gramians(20, 4, 4, (FULL_RANK, UNEVEN)).astype(np.float32)
    solution = SOLVE(grams, 0.0)
    np.testing.assert_array_equal(solution.weights, 0.25)
    np.testing.assert_array_equal(solution.residual, 0)
    np.testing.assert_allclose(one(jnp.array([[7.0]]), 0.5).weights, [1.5], rtol=1e-6)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_a_ball_that_holds_the_origin_gives_a_direction_without_conflict(size, x64):
    grams = random_gramians(40, size, 5, (FULL_RANK, UNEVEN))
    for radius in (1.0, 1.5):
        for gram, a in zip(grams, np.asarray(SOLVE(grams, radius).weights)):
            length = np.sqrt(a @ gram @ a)
            assert ((gram @ a) / np.sqrt(np.diag(gram))).min() >= -1e-9 * max(length, mean_norm(gram))
            np.testing.assert_allclose(distance(gram, a), radius, rtol=1e-9)  # the bound is active


# ---- properties ---------------------------------------------------------------------------------


@given(
    hnp.arrays(np.float64, (4, 6), elements=st.floats(-1, 1, width=32)),
    hnp.arrays(np.float64, 6, elements=st.floats(-1, 1, width=32)),
    st.permutations(range(4)),
    st.sampled_from([1e-10, 1e-3, 1e7]),
)
def test_no_direction_in_the_ball_is_better_whatever_order_and_scale(jac, other, order, scale):
    jac = jac + 1.5 * np.eye(4, 6)
    gram, order = jac @ jac.T, np.asarray(order)
    with jax.enable_x64(True):
        plain, moved = np.asarray(SOLVE(np.stack([gram, gram[order][:, order] * scale]), 0.5).weights)
    np.testing.assert_allclose(moved, plain[order], rtol=1e-7)
    mean = jac.mean(axis=0)
    np.testing.assert_allclose(np.linalg.norm(jac.T @ plain - mean), 0.5 * np.linalg.norm(mean), rtol=1e-9)
    length = max(np.linalg.norm(other), 1e-9)
    competitor = mean + 0.5 * np.linalg.norm(mean) * other / length
    assert (jac @ competitor).min() <= (gram @ plain).min() + 1e-9


def test_zero_gradients_keep_the_mean_weight():
    gram = np.zeros((3, 3))
    gram[np.ix_([0, 2], [0, 2])] = ORACLE
    solution = one(jnp.asarray(gram, jnp.float32), 0.5)
    np.testing.assert_allclose(solution.weights[1], 1 / 3, rtol=1e-6)
    assert np.isfinite(solution.weights).all()
    assert float(solution.residual) <= 1e-6
    np.testing.assert_allclose(one(jnp.zeros((4, 4)), 0.5).weights, 0.25)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_gramian_never_looks_like_an_answer(bad):
    solution = one(jnp.array([[1.0, bad], [bad, 1.0]]), 0.5)
    assert np.isnan(solution.weights).all()
    assert np.isnan(solution.residual)


def test_vmap_and_scan_equal_single_calls():
    grams = random_gramians(10, 4, 3, (FULL_RANK,)).astype(np.float32)
    solve = jax.jit(functools.partial(conflict_averse, radius=0.5))
    single = np.stack([solve(g).weights for g in grams])
    np.testing.assert_allclose(SOLVE(grams, 0.5).weights, single, rtol=1e-4)
    scanned = jax.lax.scan(lambda carry, g: (carry, solve(g).weights), 0, grams)[1]
    np.testing.assert_allclose(scanned, single, rtol=1e-4)


def test_radii_as_arguments_of_one_program(x64):
    """Traced radii give what numbers give, the mean and the non-conflicting directions included."""
    gram = random_gramians(1, 4, 0, (FULL_RANK,))[0]
    radii = np.array([0.0, 1e-4, 0.5, 1.5])
    found = jax.jit(jax.vmap(conflict_averse, in_axes=(None, 0)))(gram, radii)
    for radius, weights in zip(radii, found.weights, strict=True):
        alone = jax.jit(functools.partial(conflict_averse, radius=float(radius)))(gram)
        np.testing.assert_allclose(weights, alone.weights, rtol=1e-9)
    assert float(jnp.max(found.residual)) <= 1e-10
