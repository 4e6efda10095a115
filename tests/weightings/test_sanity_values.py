"""Weights worked out by hand, or pinned from the closed forms, for one small Gramian."""

import jax.numpy as jnp
import numpy as np
import pytest
from on_gramians import rows_of, weights

from mtl.weightings import imtl_g

GRAMIAN = np.array([[4.0, -1.5], [-1.5, 1.0]])
THIRD = 1 / 3

ORACLES = [
    ("mgda", {}, (0.3125, 0.6875)),
    ("imtl_g", {}, (THIRD, 2 * THIRD)),
    ("imtl_g", {"total": "abs_sum"}, (THIRD, 2 * THIRD)),
    ("config", {}, (0.75, 1.5)),
    ("nash_mtl", {"max_norm": None}, (1.0, 2.0)),
    ("nash_mtl", {}, (2**-0.5, 2**0.5)),
    ("fairgrad", {"alpha": 2.0}, (1.1064, 2.3166)),
    ("fairgrad", {"alpha": 1.0}, (1.0, 2.0)),
    ("aligned_mtl", {}, (0.3216, 0.5739)),
    ("upgrad", {}, (0.6875, 1.25)),
    ("pcgrad", {}, (1.375, 2.5)),
    ("gradvac", {}, (1.375, 2.5)),  # its first step is PCGrad
    ("dual_proj", {}, (0.5, 0.75)),
    ("cagrad", {"rescale": "none"}, (0.5, 0.8536)),
    ("cagrad", {}, (0.5 / 1.25, 0.8536 / 1.25)),
    ("cagrad", {"rescale": "one_plus_c"}, (0.5 / 1.5, 0.8536 / 1.5)),
    ("pcd", {}, (1.51117, 2.32720)),  # d = g₀ + 1.54 g₁, at the length of g₀
    ("pcd", {"tau": 0.9}, (0.89532, 2.95457)),
    ("pcd", {"tau": 0.0}, (4 / 7**0.5, 6 / 7**0.5)),
    ("pe_ltr", {}, (0.3125, 0.6875)),
    ("ntkmtl", {}, (np.sqrt(5 / 4), np.sqrt(5.0))),
    ("db_mtl", {"beta": 0.0}, (1.0, 2.0)),
    ("gradnorm", {}, (1.0, 1.0)),  # the first step has the weights it starts from
]


@pytest.mark.parametrize(("name", "arguments", "expected"), ORACLES, ids=lambda x: str(x))
def test_two_tasks(name, arguments, expected, x64):
    np.testing.assert_allclose(weights(name, rows_of(GRAMIAN), **arguments), expected, atol=5e-5)


def test_aligned_mtl_with_unit_preference_is_twice_that_of_one_half(x64):
    np.testing.assert_allclose(
        weights("aligned_mtl", rows_of(GRAMIAN), preference=1.0), (2 * 0.3216, 2 * 0.5739), atol=1e-4
    )


def test_imtl_g_keeps_the_direction_of_descent(x64):
    """Norms (1, 20, 20), cosines .6, .6, .1: the paper's v/Σv gives an ascent step on all three tasks."""
    d = np.array([1.0, 20.0, 20.0])
    c = np.array([[1, 0.6, 0.6], [0.6, 1, 0.1], [0.6, 0.1, 1]])
    gramian = c * np.outer(d, d)
    v = np.linalg.solve(gramian, d)
    paper = v / v.sum()
    np.testing.assert_allclose(paper, (1.667, -0.333, -0.333), atol=1e-3)
    np.testing.assert_allclose(gramian @ paper, (-6.3, -126.7, -126.7), atol=0.1)
    for total in ("sum_abs", "abs_sum"):
        a = weights("imtl_g", rows_of(gramian), total=total)
        slopes = gramian @ a / d
        assert (slopes > 0).all()
        np.testing.assert_allclose(slopes, slopes[0])


@pytest.mark.parametrize("scale", ["min", "median", "mean"])
def test_aligned_mtl_makes_rows_orthogonal_of_the_length_its_scale_says(scale, x64):
    """With p = e_i the combinations are the rows of the aligned matrix."""
    rows = np.diag([1.0, 2.0, 5.0]) @ np.linalg.qr(np.arange(9.0).reshape(3, 3) ** 2 + np.eye(3))[0]
    rows[0] += 0.5 * rows[1]
    gramian = rows @ rows.T
    values = np.linalg.eigvalsh(gramian)
    level = {"min": values[0], "median": values[1], "mean": values.mean()}[scale]
    aligned = (
        np.stack([weights("aligned_mtl", rows, preference=tuple(e), scale=scale) for e in np.eye(3)]) @ rows
    )
    np.testing.assert_allclose(aligned @ aligned.T, level * np.eye(3), atol=1e-5 * level)


def test_aligned_mtl_drops_a_null_direction(x64):
    rows = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 2.0]])
    a = weights("aligned_mtl", rows)
    assert np.isfinite(a).all()
    assert np.abs(a).max() < 10


def test_imtl_g_state_is_the_documented_one():
    assert imtl_g(2).init(jnp.zeros(2))._fields == ("weights", "residual")
