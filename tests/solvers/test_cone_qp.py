import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from gramians import SIZES, in_blocks, random_gramians
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mtl.solvers import cone_qp, cone_residual

SOLVE = in_blocks(jax.jit(jax.vmap(cone_qp)))
ALONE = jax.jit(cone_qp)


def lower_bounds(kind: str, grams: np.ndarray) -> np.ndarray:
    """u: that of DualProj, one of UPGrad's, or drawn with zeros among them."""
    num, size, _ = grams.shape
    if kind == "even":
        return np.full((num, size), 1 / size)
    if kind == "one":
        return np.eye(size)[np.arange(num) % size]
    rng = np.random.default_rng(size)
    return rng.uniform(size=(num, size)) * (rng.uniform(size=(num, size)) < 0.6)


def violation(gram: np.ndarray, v: np.ndarray, u: np.ndarray) -> float:
    """The certificate again, in NumPy: v ≥ u, Gv ≥ 0 and complementarity as cosines."""
    d = np.sqrt(np.diag(gram))
    beta, held = d * v, d * (v - u)
    slope = gram @ v / d
    worst = max(-slope.min(), (slope * np.maximum(held, 0)).max() / max(beta.max(), 1e-300), -held.min())
    size = np.abs(beta).sum()
    return max(worst, 0.0) / size if size else 0.0


def test_there_are_a_thousand_cases():
    assert sum(num for _, num in SIZES) >= 1000


@pytest.mark.parametrize(("size", "num"), SIZES)
def test_residual_in_float32(size, num):
    grams = random_gramians(num, size, 0)
    for kind in ("even", "one", "drawn"):
        lower = lower_bounds(kind, grams).astype(np.float32)
        solution = SOLVE(grams.astype(np.float32), lower)
        assert float(jnp.max(solution.residual)) <= 1e-5
        assert (np.asarray(solution.weights) >= lower * (1 - 1e-6)).all()


@pytest.mark.parametrize(("size", "num"), SIZES)
def test_residual_in_float64(size, num, x64):
    grams = random_gramians(num, size, 0)
    for kind in ("even", "one", "drawn"):
        lower = lower_bounds(kind, grams)
        solution = SOLVE(grams, lower)
        assert solution.weights.dtype == jnp.float64
        assert float(jnp.max(solution.residual)) <= 1e-10
        independent = [violation(g, v, u) for g, v, u in zip(grams, np.asarray(solution.weights), lower)]
        assert max(independent) <= 1e-10


@pytest.mark.parametrize("size", [2, 3, 5, 8, 16])
def test_matches_non_negative_least_squares(size, x64):
    """min ‖Jᵀ(u + y)‖ over y ≥ 0 with SciPy's NNLS; the direction is unique even where v is not."""
    rng = np.random.default_rng(size)
    jacs = rng.normal(size=(20, size, 2 * size)) - 0.3  # wide ones
    jacs[10:, :, size:] = 0.3 * jacs[10:, :, :size]  # and of rank T
    jacs[15:, 0] = -jacs[15:, 1]  # and with two opposed
    lower = rng.uniform(size=(20, size))
    found = SOLVE(np.einsum("nik,njk->nij", jacs, jacs), lower)
    for jac, u, v in zip(jacs, lower, np.asarray(found.weights)):
        y, _ = scipy.optimize.nnls(jac.T, -jac.T @ u)
        np.testing.assert_allclose(jac.T @ v, jac.T @ (u + y), atol=1e-9)


@pytest.mark.parametrize(
    ("gram", "lower", "weights"),
    [
        ([[4, -1.5], [-1.5, 1]], [0.5, 0.5], [0.5, 0.75]),  # task 2 is opposed: v₂ = 1.5 v₁
        ([[1, 0.5], [0.5, 1]], [0.5, 0.5], [0.5, 0.5]),  # no conflict
        ([[1, -0.5], [-0.5, 1]], [1, 0], [1, 0.5]),  # g₁ less its component along g₂
        ([[1, -0.5], [-0.5, 1]], [0, 0], [0, 0]),
        ([[1, -2], [-2, 4]], [1, 0], [1, 0.5]),  # opposed: the direction vanishes
        ([[3, 0, 0], [0, 0, 0], [0, 0, 1]], [0.2, 0.3, 0.5], [0.2, 0.3, 0.5]),  # a zero gradient
        ([[0, 0], [0, 0]], [0.25, 0.75], [0.25, 0.75]),
        ([[9]], [2], [2]),
    ],
)
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_small_problems_by_hand(gram, lower, weights, scale):
    solution = ALONE(jnp.asarray(gram, jnp.float32) * scale, jnp.asarray(lower, jnp.float32))
    np.testing.assert_allclose(solution.weights, weights, rtol=1e-5, atol=1e-7)
    assert float(solution.residual) <= 1e-6


@given(
    hnp.arrays(np.float64, (5, 6), elements=st.floats(-1, 1, width=32)),
    hnp.arrays(np.float64, 5, elements=st.floats(0, 1, width=32)),
    st.permutations(range(5)),
    st.lists(st.sampled_from([1e-5, 1e-2, 1.0, 1e4]), min_size=5, max_size=5),
)
def test_the_direction_is_a_projection_whatever_the_order_and_the_scales(jac, lower, order, scales):
    jac = jac + 0.05 * np.eye(5, 6)
    with jax.enable_x64(True):
        v = np.asarray(ALONE(jac @ jac.T, lower).weights)
        # Gradients s_i g_i with bounds u_i / s_i pose the same problem.
        order, s = np.asarray(order), np.asarray(scales)
        scaled = jac[order] * s[:, None]
        moved = np.asarray(ALONE(scaled @ scaled.T, lower[order] / s).weights)
    start, nearest = jac.T @ lower, jac.T @ v
    # x is the projection of Jᵀu on {Jx ≥ 0}: it lies in the cone, and Jᵀu − x in its polar, orthogonal to x.
    assert (jac @ nearest).min() >= -1e-10
    assert abs((start - nearest) @ nearest) <= 1e-10
    assert (v >= lower).all()
    np.testing.assert_allclose(scaled.T @ moved, nearest, atol=1e-8)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_gramian_never_looks_like_an_answer(bad):
    solution = ALONE(jnp.array([[1.0, bad], [bad, 1.0]]), jnp.ones(2))
    assert np.isnan(solution.weights).all()
    assert np.isnan(solution.residual)


def test_the_certificate_is_not_fooled():
    gram = jnp.array([[4.0, -1.5], [-1.5, 1.0]])
    lower = jnp.array([0.5, 0.5])
    assert float(cone_residual(gram, jnp.array([0.5, 0.75]), lower)) < 1e-6
    assert float(cone_residual(gram, lower, lower)) > 0.05  # opposes the second task
    assert float(cone_residual(gram, jnp.array([0.5, 1.0]), lower)) > 0.05  # further than needed
    assert float(cone_residual(gram, jnp.array([0.4, 0.6]), lower)) > 0.05  # below the bound


def test_vmap_and_scan_equal_single_calls():
    grams = random_gramians(10, 4, 3).astype(np.float32)
    solve = jax.jit(functools.partial(cone_qp, lower=jnp.full(4, 0.25)))
    single = np.stack([solve(g).weights for g in grams])
    batched = jax.jit(jax.vmap(solve))(grams).weights
    scanned = jax.lax.scan(lambda carry, g: (carry, solve(g).weights), 0, grams)[1]
    np.testing.assert_allclose(batched, single, rtol=1e-4)
    np.testing.assert_allclose(scanned, single, rtol=1e-4)
