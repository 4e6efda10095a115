import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from gramians import in_blocks, random_gramians
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mtl.solvers import kkt_residual, project_simplex, simplex_qp

SOLVE = in_blocks(jax.jit(jax.vmap(simplex_qp)))
ALONE = jax.jit(simplex_qp)


SIZES = ((2, 2500), (3, 2000), (4, 1500), (6, 1500), (8, 1000), (16, 1000), (32, 400), (64, 100))


def test_the_sizes_add_up_to_ten_thousand():
    assert sum(n for _, n in SIZES) == 10_000


@pytest.mark.parametrize(("size", "num"), SIZES)
def test_kkt_residual_in_float32(size, num):
    grams = random_gramians(num, size, 0).astype(np.float32)
    solution = SOLVE(grams)
    assert float(jnp.max(solution.residual)) <= 1e-5
    assert float(jnp.min(solution.weights)) >= 0


@pytest.mark.parametrize(("size", "num"), SIZES)
def test_kkt_residual_in_float64(size, num, x64):
    solution = SOLVE(random_gramians(num, size, 0))
    assert solution.weights.dtype == jnp.float64
    assert float(jnp.max(solution.residual)) <= 1e-10
    assert float(jnp.min(solution.weights)) >= 0


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_the_certificate_agrees_with_an_independent_one(size, x64):
    """The duality gap aᵀGa − min_i (Ga)_i, computed in NumPy relative to the largest norm."""
    grams = random_gramians(200, size, 1)
    a = np.asarray(SOLVE(grams).weights)
    ga = np.einsum("nij,nj->ni", grams, a)
    gap = np.einsum("ni,ni->n", a, ga) - ga.min(axis=1)
    scale = np.einsum("nii->ni", grams).max(axis=1)
    np.testing.assert_array_less(gap / scale, 1e-12)
    np.testing.assert_allclose(a.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("floors", [None, (0.1, 0.0, 0.25, 0.05)])
def test_matches_scipy(floors, x64):
    lower = np.zeros(4) if floors is None else np.asarray(floors)
    for gram in random_gramians(20, 4, 2)[::5]:  # well-posed ones, so that the minimiser is unique
        gram = gram / np.trace(gram)
        found = ALONE(jnp.asarray(gram), None if floors is None else jnp.asarray(lower))
        expected = scipy.optimize.minimize(
            lambda a, gram=gram: 0.5 * a @ gram @ a,
            np.full(4, 0.25),
            jac=lambda a, gram=gram: gram @ a,
            bounds=[(c, 1) for c in lower],
            constraints={"type": "eq", "fun": lambda a: a.sum() - 1, "jac": lambda a: np.ones(4)},
            method="SLSQP",
            options={"ftol": 1e-16, "maxiter": 500},
        )
        np.testing.assert_allclose(found.weights, expected.x, atol=2e-6)
        assert float(found.residual) < 1e-12


@pytest.mark.parametrize(
    ("gram", "weights"),
    [
        ([[1, 0], [0, 4]], [0.8, 0.2]),
        ([[4, -1.5], [-1.5, 1]], [0.3125, 0.6875]),
        ([[1, 2], [2, 9]], [1, 0]),  # the second gradient is longer and points the same way
        ([[1, -1], [-1, 1]], [0.5, 0.5]),  # Pareto-stationary
        ([[2, 2], [2, 2]], None),  # duplicated task: any point of the simplex
        ([[1, 0, 0], [0, 1, 0], [0, 0, 2]], [0.4, 0.4, 0.2]),
    ],
)
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_small_problems_by_hand(gram, weights, scale):
    solution = ALONE(jnp.asarray(gram, jnp.float32) * scale)
    assert float(solution.residual) <= 1e-6
    if weights is not None:
        np.testing.assert_allclose(solution.weights, weights, atol=1e-6)


def test_a_zero_gradient_takes_no_part():
    gram = jnp.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 4.0]])
    solution = simplex_qp(gram)
    np.testing.assert_allclose(solution.weights, [0.8, 0, 0.2], atol=1e-6)
    assert float(solution.residual) <= 1e-6
    np.testing.assert_allclose(simplex_qp(jnp.zeros((4, 4))).weights, 0.25)


def test_floors_at_the_edge_of_the_simplex():
    gram = jnp.array([[1.0, 0.2], [0.2, 3.0]])
    np.testing.assert_allclose(ALONE(gram, jnp.array([0.3, 0.7])).weights, [0.3, 0.7], atol=1e-6)
    np.testing.assert_allclose(ALONE(gram, jnp.array([0.0, 0.5])).weights, [0.5, 0.5], atol=1e-6)
    zero_task = jnp.array([[1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(ALONE(zero_task, jnp.array([0.1, 0.2])).weights, [0.8, 0.2], atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_gramian_never_looks_like_an_answer(bad):
    solution = ALONE(jnp.array([[1.0, bad], [bad, 1.0]]))
    assert np.isnan(solution.weights).all()
    assert np.isnan(solution.residual)


def test_the_certificate_is_not_fooled():
    gram = jnp.array([[1.0, 0.0], [0.0, 4.0]])
    assert float(kkt_residual(gram, jnp.array([0.8, 0.2]))) < 1e-6
    assert float(kkt_residual(gram, jnp.array([0.5, 0.5]))) > 0.1
    assert float(kkt_residual(gram, jnp.array([1.0, 0.0]))) > 0.1
    assert float(kkt_residual(gram, jnp.array([0.8, 0.3]))) >= 0.0999  # off the simplex


@given(
    hnp.arrays(np.float64, (5, 6), elements=st.floats(-1, 1, width=32)),
    st.permutations(range(5)),
    st.sampled_from([1e-10, 1e-3, 1e7]),
)
def test_order_and_scale_do_not_matter(jac, order, scale):
    jac = jac + 0.05 * np.eye(5, 6)  # keep the minimiser well away from a tie
    gram = jac @ jac.T
    order = np.asarray(order)
    with jax.enable_x64(True):
        point = np.asarray(ALONE(gram).weights)
        moved = np.asarray(ALONE(gram[order][:, order] * scale).weights)
        shortest = point @ gram @ point
        # Directions agree even where the weights are not unique.
        back = np.empty(5)
        back[order] = moved
        assert back @ gram @ back <= shortest + 1e-9
        assert shortest <= back @ gram @ back + 1e-9


def test_projection_on_the_simplex():
    np.testing.assert_allclose(project_simplex(jnp.array([0.5, 0.5])), [0.5, 0.5])
    np.testing.assert_allclose(project_simplex(jnp.array([2.0, 0.0])), [1, 0])
    np.testing.assert_allclose(project_simplex(jnp.array([0.6, 0.6, -1.0])), [0.5, 0.5, 0])
    np.testing.assert_allclose(project_simplex(jnp.array([0.3, 0.1]), 0.0), [0, 0], atol=1e-7)
    np.testing.assert_allclose(
        project_simplex(jnp.array([0.3, 9.0, 0.1]), 0.6, jnp.array([True, False, True])), [0.4, 0, 0.2]
    )


@given(hnp.arrays(np.float64, 6, elements=st.floats(-3, 3)), st.floats(0.1, 5))
def test_projection_is_the_nearest_point(point, mass):
    with jax.enable_x64(True):
        found = np.asarray(project_simplex(jnp.asarray(point), mass))
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(), mass, rtol=1e-9)
    # Variational inequality against every vertex: (point − w)·(v − w) ≤ 0.
    vertices = mass * np.eye(6)
    assert ((vertices - found) @ (point - found)).max() <= 1e-8
