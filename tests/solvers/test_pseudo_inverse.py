import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gramians import SIZES, random_gramians
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mtl.solvers import cosine_normalise, pseudo_inverse

INVERT = jax.jit(jax.vmap(lambda gram: pseudo_inverse(cosine_normalise(gram)[0])))


def cosines(grams: np.ndarray) -> np.ndarray:
    norms = np.sqrt(np.einsum("nii->ni", grams))
    return grams / norms[:, :, None] / norms[:, None, :]


@pytest.mark.parametrize(("size", "num"), SIZES)
def test_penrose_conditions_and_numpy(size, num, x64):
    """C C⁺ C = C, C⁺ C C⁺ = C⁺, C⁺ as NumPy has it with the same cut; to rounding times max |C⁺|."""
    grams = random_gramians(num, size, 0)
    found, cosine = np.asarray(INVERT(grams)), cosines(grams)
    eps = np.finfo(np.float64).eps
    cut = 4 * size * eps
    expected = np.stack([np.linalg.pinv(c, rcond=cut, hermitian=True) for c in cosine])
    largest = np.abs(found).max(axis=(1, 2), keepdims=True)
    floor = 64 * size * eps * np.maximum(largest, 1.0)
    assert (np.abs(cosine @ found @ cosine - cosine) < floor).all()
    assert (np.abs(found @ cosine @ found - found) / largest < floor).all()
    assert (np.abs(found - found.swapaxes(1, 2)) / largest < floor).all()
    assert (np.abs(found - expected) / largest < floor).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_matrices_by_hand(dtype):
    with jax.enable_x64(True):
        for cosine, inverse in (
            ([[1, 0], [0, 1]], [[1, 0], [0, 1]]),
            ([[1, 0.5], [0.5, 1]], [[4 / 3, -2 / 3], [-2 / 3, 4 / 3]]),
            ([[1, 1], [1, 1]], [[0.25, 0.25], [0.25, 0.25]]),  # a duplicated task
            ([[1, -1], [-1, 1]], [[0.25, -0.25], [-0.25, 0.25]]),  # opposed tasks
            ([[1, 0], [0, 0]], [[1, 0], [0, 0]]),  # a zero gradient
            ([[0, 0], [0, 0]], [[0, 0], [0, 0]]),
        ):
            found = pseudo_inverse(jnp.asarray(cosine, dtype))
            assert found.dtype == dtype
            np.testing.assert_allclose(found, inverse, atol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("gap", [1e-3, 1e-5])
def test_nearly_parallel_gradients_are_inverted_down_to_rounding(gap):
    """The small eigenvalue counts as long as float32 knows it, and not below."""
    cosine = np.array([[1, 1 - gap], [1 - gap, 1]])
    found = pseudo_inverse(jnp.asarray(cosine, jnp.float32))
    np.testing.assert_allclose(found, np.linalg.inv(np.float64(np.float32(cosine))), rtol=0.05)
    below = pseudo_inverse(jnp.asarray([[1, 1 - 1e-7], [1 - 1e-7, 1]], jnp.float32))
    np.testing.assert_allclose(below, 0.25, rtol=1e-5)


@given(hnp.arrays(np.float64, (4, 3), elements=st.floats(-1, 1, width=32)), st.permutations(range(4)))
def test_the_order_of_tasks_does_not_matter(jac, order):
    jac = jac + np.eye(4, 3)
    gram, order = jac @ jac.T + 1e-3 * np.eye(4), np.asarray(order)
    with jax.enable_x64(True):
        plain, moved = np.asarray(INVERT(np.stack([gram, gram[order][:, order]])))
    np.testing.assert_allclose(moved, plain[order][:, order], rtol=1e-8, atol=1e-8 * np.abs(plain).max())


def test_scan_equals_vmap():
    grams = random_gramians(10, 4, 3, (0,)).astype(np.float32)
    scanned = jax.lax.scan(lambda c, g: (c, pseudo_inverse(cosine_normalise(g)[0])), 0, grams)[1]
    np.testing.assert_allclose(scanned, INVERT(grams), rtol=1e-4, atol=1e-6)
