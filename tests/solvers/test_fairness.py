import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from gramians import (
    FULL_RANK,
    ILL_CONDITIONED,
    LOW_RANK,
    OPPOSED,
    SIZES,
    UNEVEN,
    in_blocks,
    random_gramians,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mtl.solvers import QPSolution, fair_weights, fairness_residual, simplex_qp
from mtl.solvers.fairness import RIDGE

ORACLE = np.array([[4.0, -1.5], [-1.5, 1.0]])


SHORTEST = in_blocks(jax.jit(jax.vmap(simplex_qp)))
NASH = in_blocks(jax.jit(jax.vmap(fair_weights)))
FAIR = in_blocks(jax.jit(jax.vmap(fair_weights, in_axes=(0, None))))


def solve(grams, fairness: float = 1.0) -> QPSolution:
    """Nash-MTL's number is part of the program; any other an argument, which `…_as_an_argument` compares."""
    return NASH(grams) if fairness == 1.0 else FAIR(grams, fairness)


def one(gram, fairness: float = 1.0) -> QPSolution:
    """A single call."""
    return jax.tree.map(lambda x: x[0], solve(np.asarray(gram)[None], fairness))


def solvable(num: int, size: int, decades: float, seed: int = 0) -> np.ndarray:
    """Gramians of full-rank Gaussian rows, each row at a scale of its own."""
    grams = random_gramians(num, size, seed, (FULL_RANK,))
    scale = 10 ** np.random.default_rng([seed, size]).uniform(-decades, decades, size=(num, size))
    return grams * scale[:, :, None] * scale[:, None, :]


def violation(gram: np.ndarray, alpha: np.ndarray, s: float) -> np.ndarray:
    """The certificate again, in NumPy: |α_i^(1/s) (Gα)_i − 1|, through logarithms."""
    pull = gram @ alpha
    with np.errstate(divide="ignore"):
        value = np.sign(pull) * np.exp(np.log(np.abs(pull)) + np.log(alpha) / s)
    return np.abs(value - 1)


def rounding(gram: np.ndarray, alpha: np.ndarray, eps: float, s: float = 1.0) -> np.ndarray:
    """How far rounding every weight once may move α_i^(1/s) (Gα)_i: ε α_i^(1/s) Σ_j |G_ij| α_j."""
    return eps * alpha ** (1 / s) * (np.abs(gram) @ alpha)


# ---- residuals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "num"), SIZES)
def test_nash_residual_in_float32(size, num):
    grams = solvable(num, size, 4).astype(np.float32)
    solution = NASH(grams)
    assert float(jnp.max(solution.residual)) <= 1e-5
    assert float(jnp.min(solution.weights)) > 0


@pytest.mark.parametrize(("size", "num"), SIZES)
def test_nash_residual_in_float64(size, num, x64):
    grams = solvable(num, size, 4)
    solution = NASH(grams)
    assert solution.weights.dtype == jnp.float64
    assert float(jnp.max(solution.residual)) <= 1e-10
    alpha = np.asarray(solution.weights)
    assert max(violation(g, a, 1.0).max() for g, a in zip(grams, alpha)) <= 1e-10
    # The step has length √T, the solution's mark.
    np.testing.assert_allclose(np.einsum("ni,nij,nj->n", alpha, grams, alpha), size, rtol=1e-10)


@pytest.mark.parametrize(("size", "num"), SIZES)
@pytest.mark.parametrize("fairness", [0.5, 2.0, 4.0, 10.0])
def test_fairgrad_residual(size, num, fairness):
    """At any common scale, with scales of the rows within a factor of ten of each other."""
    grams = solvable(num // 4, size, 0.5)
    assert float(jnp.max(solve(grams.astype(np.float32), fairness).residual)) <= 1e-5
    with jax.enable_x64(True):
        assert float(jnp.max(solve(grams, fairness).residual)) <= 1e-10


@pytest.mark.parametrize("size", [2, 4, 8, 32])
@pytest.mark.parametrize("kind", [ILL_CONDITIONED, UNEVEN])
def test_ill_conditioned_problems_are_solved_as_far_as_weights_can_be_rounded(size, kind):
    """Where β_i Σ_j |C_ij| β_j is large, rounding the solution's weights alone breaks the equations.

    In float64 the solver gets there; float32 rounds the Gramian as well, which may then have no solution.
    """
    with jax.enable_x64(True):
        grams = random_gramians(50, size, 0, (kind,))
        solution = NASH(grams)
        for gram, alpha, residual in zip(grams, *map(np.asarray, solution)):
            assert residual <= max(1e-14, 8 * rounding(gram, alpha, np.finfo(np.float64).eps).max())
    grams = grams.astype(np.float32)
    alpha, residual = map(np.asarray, NASH(grams))
    well_posed = 0
    for gram, a, r in zip(grams.astype(np.float64), alpha.astype(np.float64), residual):
        floor = rounding(gram, a, np.finfo(np.float32).eps).max()
        assert r <= max(1e-6, 8 * floor)
        well_posed += floor < 1e-6
    assert kind == ILL_CONDITIONED or size == 32 or well_posed >= 5


@pytest.mark.parametrize("size", [2, 8])
@pytest.mark.parametrize("fairness", [0.25, 0.5, 2.0, 4.0])
def test_fairgrad_with_gradients_of_very_different_scales(size, fairness):
    """Four decades of scales: its weights spread as far, and rounding them sets the floor, in both dtypes."""
    for dtype, x64 in ((np.float32, False), (np.float64, True)):
        with jax.enable_x64(x64):
            grams = solvable(100, size, 2).astype(dtype)
            solution = solve(grams, fairness)
        for gram, a, r in zip(grams.astype(np.float64), *map(np.float64, solution)):
            assert r <= 8 * rounding(gram, a, np.finfo(dtype).eps, fairness).max()


@pytest.mark.parametrize("size", [2, 8, 32])
@pytest.mark.parametrize("kind", [LOW_RANK, OPPOSED])
@pytest.mark.parametrize("fairness", [1.0, 2.0])
def test_where_no_solution_exists_the_residual_says_so(size, kind, fairness, x64):
    """At a Pareto-stationary point it is large; reported equals recomputed, and the weights are bounded."""
    grams = random_gramians(60, size, 1, (kind,))
    alpha, residual = map(np.asarray, solve(grams, fairness))
    norms = np.sqrt(np.einsum("nii->ni", grams))
    cosines = grams / norms[:, :, None] / norms[:, None, :]
    shortest = np.asarray(SHORTEST(cosines).weights)
    stationary = 0
    for gram, d, cosine, w, a, r in zip(grams, norms, cosines, shortest, alpha, residual):
        unit = np.exp(np.log(d).mean())
        beta = a * d * unit ** ((fairness - 1) / (fairness + 1))
        assert (a > 0).all()
        assert np.linalg.norm(beta) <= 10 * (size / RIDGE["float64"]) ** (fairness / (1 + fairness))
        again = violation(gram, a, fairness).max()
        floor = rounding(gram, a, np.finfo(np.float64).eps, fairness).max()
        np.testing.assert_allclose(r, again, rtol=1e-6, atol=100 * floor)
        if w @ cosine @ w < 1e-14:
            stationary += 1
            assert r > 0.1
    assert stationary > 5


# ---- answers known otherwise --------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3, 5, 8])
@pytest.mark.parametrize("fairness", [0.5, 1.0, 2.0])
def test_matches_scipy(size, fairness, x64):
    """The convex potential by L-BFGS-B, and from there the equations by Powell's hybrid method."""
    grams = solvable(10, size, 0)
    e = 1 / fairness
    for gram, alpha in zip(grams, np.asarray(solve(grams, fairness).weights)):
        gram, unit = gram / np.trace(gram), np.trace(gram)

        def potential(a, gram=gram):
            utility = np.log(a) if fairness == 1 else a ** (1 - e) / (1 - e)
            return 0.5 * a @ gram @ a - utility.sum(), gram @ a - a**-e

        near = scipy.optimize.minimize(
            potential, np.full(size, 3.0), jac=True, method="L-BFGS-B", bounds=[(0.1, None)] * size
        )
        root = scipy.optimize.root(lambda a, gram=gram: gram @ a - a**-e, near.x, tol=1e-13)
        assert np.abs(root.fun).max() < 1e-10
        np.testing.assert_allclose(alpha, root.x * unit ** (-fairness / (1 + fairness)), rtol=1e-7)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_sanity_gramian(scale):
    """Nash (1, 2) and FairGrad₂ (1.1064, 2.3166); a factor s² of G multiplies α by s^(−2s/(1+s))."""
    nash = one(jnp.asarray(ORACLE * scale, jnp.float32))
    np.testing.assert_allclose(nash.weights * scale**0.5, [1, 2], rtol=1e-5)
    fair = one(jnp.asarray(ORACLE * scale, jnp.float32), 2.0)
    np.testing.assert_allclose(fair.weights * scale ** (2 / 3), [1.1064, 2.3166], rtol=1e-4)


@pytest.mark.parametrize("fairness", [0.05, 0.5, 1.0, 2.0, 20.0])
def test_orthogonal_gradients_and_a_preference(fairness, x64):
    """α_i d_i² = (p_i / α_i)^(1/s) for each task alone."""
    d, p = np.array([0.5, 1.0, 3.0]), np.array([2.0, 0.5, 1.0])
    expected = (p ** (1 / fairness) / d**2) ** (fairness / (1 + fairness))
    solution = jax.jit(fair_weights, static_argnums=1)(jnp.asarray(np.diag(d**2)), fairness, jnp.asarray(p))
    np.testing.assert_allclose(solution.weights, expected, rtol=1e-9)
    assert float(solution.residual) <= 1e-10
    assert float(fairness_residual(np.diag(d**2), expected, fairness, p)) <= 1e-10
    assert float(fairness_residual(np.diag(d**2), 1.1 * expected, fairness, p)) > 0.1


def test_two_tasks_have_a_closed_form(x64):
    """Nash: α_i d_i = 1/√(1 + cos), the bisector."""
    for cos in (-0.999, -0.3, 0.0, 0.8, 1.0):
        d = np.array([0.01, 30.0])
        gram = np.array([[1, cos], [cos, 1]]) * np.outer(d, d)
        np.testing.assert_allclose(one(gram).weights * d, (1 + cos) ** -0.5, rtol=1e-9)


def test_one_task():
    for fairness in (0.5, 1.0, 3.0):
        found = one(jnp.array([[9.0]]), fairness).weights
        np.testing.assert_allclose(found, [9 ** (-fairness / (1 + fairness))], rtol=1e-5)


def test_the_limits_of_fairness(x64):
    """Little of it: α = 1 − s log(G1) + O(s²), the mean direction. Much of it: the max–min direction."""
    jac = np.random.default_rng(0).normal(size=(4, 8)) + 0.7
    gram = jac @ jac.T
    small = np.asarray(one(gram, 0.05).weights)
    np.testing.assert_allclose(small, 1, atol=0.2)
    np.testing.assert_allclose(small, 1 - 0.05 * np.log(gram @ np.ones(4)), atol=0.02)
    cosine = gram / np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
    worst = []
    for fairness in (1.0, 5.0, 50.0):
        alpha = np.asarray(one(cosine, fairness).weights)
        worst.append((cosine @ alpha).min() / np.sqrt(alpha @ cosine @ alpha))
    shortest = np.asarray(SHORTEST(cosine[None]).weights[0])
    best = np.sqrt(shortest @ cosine @ shortest)  # no direction has a larger worst slope
    assert worst[0] < worst[1] < worst[2] < best * (1 + 1e-9)
    np.testing.assert_allclose(worst[2], best, rtol=0.02)


# ---- properties ---------------------------------------------------------------------------------


@given(
    hnp.arrays(np.float64, (4, 6), elements=st.floats(-1, 1, width=32)),
    st.permutations(range(4)),
    st.lists(st.sampled_from([1e-5, 1e-2, 1.0, 1e4]), min_size=4, max_size=4),
)
def test_nash_depends_neither_on_the_order_nor_on_the_scale_of_any_task(jac, order, scales):
    jac = jac + 1.5 * np.eye(4, 6)
    gram = jac @ jac.T
    order, scales = np.asarray(order), np.asarray(scales)
    moved = (gram * np.outer(scales, scales))[order][:, order]
    with jax.enable_x64(True):
        plain, other = np.asarray(NASH(np.stack([gram, moved])).weights)
    if np.linalg.eigvalsh(gram / np.sqrt(np.outer(np.diag(gram), np.diag(gram))))[0] > 1e-3:
        np.testing.assert_allclose(other, (plain / scales)[order], rtol=1e-8)
        np.testing.assert_allclose(plain @ gram @ plain, 4, rtol=1e-8)


def test_zero_gradients_take_no_part():
    gram = np.zeros((3, 3))
    gram[np.ix_([0, 2], [0, 2])] = ORACLE
    solution = one(jnp.asarray(gram, jnp.float32))
    np.testing.assert_allclose(solution.weights, [1, 0, 2], rtol=1e-5)
    assert float(solution.residual) <= 1e-6
    nothing = one(jnp.zeros((4, 4)), 2.0)
    np.testing.assert_array_equal(nothing.weights, 0)
    np.testing.assert_array_equal(nothing.residual, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_gramian_never_looks_like_an_answer(bad):
    for fairness in (1.0, 2.0):
        solution = one(jnp.array([[1.0, bad], [bad, 1.0]]), fairness)
        assert np.isnan(solution.weights).all()
        assert np.isnan(solution.residual)


@pytest.mark.parametrize("fairness", [0.5, 2.0, 20.0])
def test_finite_gramians_give_finite_weights(fairness):
    """Even where the solution spans more decades than float32 has."""
    for kind in (LOW_RANK, ILL_CONDITIONED, UNEVEN, OPPOSED):
        solution = solve(random_gramians(50, 4, 2, (kind,)).astype(np.float32), fairness)
        assert np.isfinite(solution.weights).all()
        assert not np.isnan(solution.residual).any()


def test_vmap_and_scan_equal_single_calls():
    grams = solvable(10, 4, 2).astype(np.float32)
    solve = jax.jit(fair_weights)
    single = np.stack([solve(g).weights for g in grams])
    np.testing.assert_allclose(NASH(grams).weights, single, rtol=1e-4)
    scanned = jax.lax.scan(lambda carry, g: (carry, solve(g).weights), 0, grams)[1]
    np.testing.assert_allclose(scanned, single, rtol=1e-4)


def test_fairness_as_an_argument_of_one_program(x64):
    """Traced numbers give what numbers give, on both sides of the logarithm at s = 1 and on it."""
    gram = random_gramians(1, 4, 0, (FULL_RANK,))[0]
    fairness = np.array([0.5, 1.0, 2.0, 5.0])
    found = jax.jit(jax.vmap(fair_weights, in_axes=(None, 0)))(gram, fairness)
    for s, weights in zip(fairness, found.weights, strict=True):
        alone = jax.jit(functools.partial(fair_weights, fairness=float(s)))(gram)
        np.testing.assert_allclose(weights, alone.weights, rtol=1e-9)
    assert float(jnp.max(found.residual)) <= 1e-10
