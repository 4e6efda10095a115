"""The two-objective problem: published values, its exact Pareto front, the distance to it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.errors import InputError
from mtl.problems import STARTS, toy2d


def reference(x1, x2):
    """The unscaled losses `[…, 2]` in float64, written out from the published code."""
    f1 = np.log(np.maximum(np.abs(0.5 * (-x1 - 7) - np.tanh(-x2)), 0.000005)) + 6
    f2 = np.log(np.maximum(np.abs(0.5 * (-x1 + 3) + np.tanh(-x2) + 2), 0.000005)) + 6
    g1 = ((-x1 + 7) ** 2 + 0.1 * (-x2 - 8) ** 2) / 10 - 20
    g2 = ((-x1 - 7) ** 2 + 0.1 * (-x2 - 8) ** 2) / 10 - 20
    c1, c2 = np.maximum(np.tanh(0.5 * x2), 0), np.maximum(np.tanh(-0.5 * x2), 0)
    return np.stack([f1 * c1 + g1 * c2, f2 * c1 + g2 * c2], axis=-1)


@pytest.fixture(scope="module")
def grid():
    """Points `[n, 2]` of a square that holds the Pareto set and all starts."""
    x1, x2 = np.meshgrid(np.linspace(-12, 12, 241), np.linspace(-12, 12, 241))
    return np.stack([x1.ravel(), x2.ravel()], axis=1)


@pytest.mark.parametrize(
    "point, expected",
    [
        ((0.0, -8.3552), (-15.0916, -15.0916)),
        ((7.0, -8.3552), (-19.9893, -0.3986)),
        ((0.0, 0.0), (0.0, 0.0)),
    ],
)
def test_published_values(point, expected):
    np.testing.assert_allclose(toy2d(1.0).loss_fn(jnp.array(point)), expected, atol=6e-5)


def test_the_sign_is_that_of_the_published_code_and_not_of_the_nash_mtl_paper():
    """With the printed sign the second loss at (9, 9) is −6.20."""
    assert float(toy2d(1.0).loss_fn(jnp.array([9.0, 9.0]))[1]) == pytest.approx(6.69, abs=0.005)


def test_losses_are_those_of_the_published_code_everywhere(grid, x64):
    for scale in (1.0, 0.1):
        losses = jax.vmap(toy2d(scale).loss_fn)(jnp.asarray(grid))
        np.testing.assert_allclose(losses, reference(*grid.T) * [scale, 1], rtol=1e-10, atol=1e-12)


def test_gradients_at_the_starts_are_finite_and_pass_where_a_maximum_is_cut_off():
    jacobians = jax.vmap(jax.jacrev(toy2d(1.0).loss_fn))(jnp.array(STARTS))
    assert np.isfinite(jacobians).all()
    # At the origin, a corner of both maxima, ∂L_i/∂x2 = ½ f_i − ½ g_i, f_i = log 3.5 + 6, g_i = 5.54 − 20.
    expected = 0.5 * (np.log(3.5) + 6) - 0.5 * (5.54 - 20)
    np.testing.assert_allclose(jacobians[1], [[0, expected], [0, expected]], rtol=1e-6)


def test_no_loss_reaches_the_lower_bound(grid):
    problem = toy2d(0.1)
    assert (reference(*grid.T) * problem.scales > problem.lower_bound).all()


def test_nothing_dominates_the_front_and_the_front_dominates_everything(grid):
    front, losses = toy2d(1.0).front(281), reference(*grid.T)
    worst = np.max(losses[:, None] - front[None], axis=-1)  # below 0 where a grid point is better in both
    assert worst.min() > -1e-9
    best = np.min(np.max(front[None] - losses[:, None], axis=-1), axis=1)
    # Between two sampled points of the front there is room for half a step, 0.05 of a loss of range 19.6.
    assert best.max() < 0.05


def test_the_pareto_set_is_stationary_for_the_weight_that_names_its_points(x64):
    problem = toy2d(0.1)
    points = jnp.asarray(problem.pareto_set(41))
    weight = np.linspace(0, 1, 41)
    jacobians = jax.vmap(jax.jacrev(problem.loss_fn))(points) / np.array(problem.scales)[:, None]
    combined = weight[:, None] * jacobians[:, 0] + (1 - weight)[:, None] * jacobians[:, 1]
    np.testing.assert_allclose(combined, 0, atol=1e-12)
    np.testing.assert_allclose(jax.vmap(problem.loss_fn)(points), problem.front(41), rtol=1e-12)


def test_the_published_line_is_the_front_to_half_a_thousandth():
    x1 = np.linspace(-7, 7, 101)
    distance, place = toy2d(1.0).place(reference(x1, np.full_like(x1, -8.3552)))
    assert distance.max() < 5e-4
    np.testing.assert_allclose(place, (1 + x1 / 7) / 2, atol=5e-3)


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_distance_and_place(scale):
    problem = toy2d(scale)
    distance, place = problem.place(problem.front(11))
    np.testing.assert_allclose(distance, 0, atol=1e-12)
    np.testing.assert_allclose(place, np.linspace(0, 1, 11), atol=1e-9)
    # Away from the front: the nearest of many points, both losses in units of their range, 19.5915.
    losses = np.array([[0.0, 0.0], [-15.0, -12.0], [8.0, 6.7], [-25.0, -3.0]])
    front = toy2d(1.0).front(20001)
    every = np.linalg.norm(losses[:, None] - front, axis=-1) / 19.59148568
    distance, place = problem.place(losses * problem.scales)
    np.testing.assert_allclose(distance, every.min(axis=1), rtol=1e-6)
    np.testing.assert_allclose(place, every.argmin(axis=1) / 20000, atol=1e-3)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), "0.1", True])
def test_a_scale_that_is_none(scale):
    with pytest.raises(InputError, match="expected a finite number above 0"):
        toy2d(scale)
