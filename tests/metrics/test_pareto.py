"""Fronts, hypervolume and distances, by hand and against inclusion and exclusion."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl import metrics
from mtl.errors import InputError


def grid_points(objectives):
    row = st.tuples(*[st.integers(0, 5)] * objectives)
    return st.lists(row, min_size=1, max_size=7).map(lambda rows: np.array(rows, float))


def volume_by_inclusion_and_exclusion(extent):
    extent = np.maximum(extent, 0)
    subsets = (c for r in range(1, len(extent) + 1) for c in itertools.combinations(extent, r))
    return sum((-1) ** (len(c) + 1) * np.prod(np.min(c, axis=0)) for c in subsets)


def test_front_by_hand():
    # Error (lower) and accuracy (higher); the last two are equal and both stay.
    points = [[1.0, 0.5], [2.0, 0.9], [2.0, 0.8], [3.0, 0.9], [1.5, 0.7], [1.5, 0.7]]
    np.testing.assert_array_equal(
        metrics.pareto_mask(points, [False, True]), [True, True, False, False, True, True]
    )
    np.testing.assert_array_equal(metrics.pareto_mask([[math.nan, 0], [1, 1]], False), [False, True])
    assert metrics.pareto_mask(np.zeros((0, 2)), True).shape == (0,)


@settings(max_examples=60, deadline=None)
@given(grid_points(3), st.tuples(*[st.booleans()] * 3))
def test_front_is_what_nothing_dominates(points, higher):
    cost = np.where(higher, -points, points)
    expected = [not any((q <= p).all() and (q < p).any() for q in cost) for p in cost]
    np.testing.assert_array_equal(metrics.pareto_mask(points, higher), expected)


def test_hypervolume_by_hand():
    # Boxes 2 × 1 and 1 × 3 from (0, 0) share 1 × 1.
    assert metrics.hypervolume([[2, 1], [1, 3]], [0, 0], True) == 4
    assert metrics.hypervolume([[-2, 1], [-1, 3]], [0, 0], [False, True]) == 4
    assert metrics.hypervolume([[2, 1], [1, 3], [5, -1]], [0, 0], True) == 4  # not better than the reference
    assert metrics.hypervolume(np.zeros((0, 2)), [0, 0], True) == 0
    assert metrics.hypervolume([[0.2, 0.4, 0.5, 0.9]] * 3, [1] * 4, False) == pytest.approx(
        0.8 * 0.6 * 0.5 * 0.1
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6).flatmap(grid_points))
def test_hypervolume_equals_inclusion_and_exclusion(points):
    reference = np.full(points.shape[1], 4.0)
    found = metrics.hypervolume(points, reference, False)
    assert found == volume_by_inclusion_and_exclusion(reference - points)
    front = points[metrics.pareto_mask(points, False)]
    assert metrics.hypervolume(front, reference, False) == found
    assert metrics.hypervolume(points[::-1], reference, False) == found


@pytest.mark.parametrize(("size", "objectives"), [(12, 3), (10, 8)])
def test_hypervolume_of_a_curved_front(size, objectives):
    """All points on a sphere are on the front, the hard case."""
    directions = np.abs(np.random.default_rng(objectives).normal(size=(size, objectives)))
    points = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    expected = volume_by_inclusion_and_exclusion(points)
    assert metrics.hypervolume(points, np.zeros(objectives), True) == pytest.approx(expected, rel=1e-10)


def test_hypervolume_of_many_points_is_that_of_random_draws():
    directions = np.abs(np.random.default_rng(0).normal(size=(100, 4)))
    points = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    volume = metrics.hypervolume(points, np.zeros(4), True)
    draws = np.random.default_rng(1).random((20_000, 4))
    inside = np.mean([np.any((points >= z).all(axis=1)) for z in draws])
    assert volume == pytest.approx(inside, abs=4 * math.sqrt(inside * (1 - inside) / 20_000))


def test_hypervolume_of_a_failed_seed_is_nan():
    assert math.isnan(metrics.hypervolume([[1.0, math.nan], [2.0, 2.0]], [0, 0], True))


def test_distance_by_hand():
    front = [[1.0, 3.0], [3.0, 1.0]]
    points = [[1.0, 3.0], [0.0, 0.0], [4.0, 5.0], [2.0, 2.0], [math.nan, 1.0]]
    # (4, 5) must gain 3 and 2 to reach (1, 3), 1 and 4 to reach (3, 1); (2, 2) lacks 1 in one objective.
    expected = [0, 0, math.sqrt(13), 1, math.nan]
    np.testing.assert_allclose(metrics.distance_to_front(points, front, False), expected)
    mirrored = metrics.distance_to_front(-np.array(points), -np.array(front), True)
    np.testing.assert_allclose(mirrored, expected)
    scaled = metrics.distance_to_front([[4.0, 5.0]], front, False, scale=[3.0, 1.0])
    np.testing.assert_allclose(scaled, [math.sqrt(1 + 4)])
    assert np.isnan(metrics.distance_to_front(points, np.zeros((0, 2)), False)).all()


@settings(max_examples=40, deadline=None)
@given(grid_points(3), grid_points(3))
def test_distance_is_zero_exactly_for_points_as_good_as_the_front(points, front):
    distance = metrics.distance_to_front(points, front, False)
    as_good = [any((p <= f).all() for f in front) for p in points]
    np.testing.assert_array_equal(distance == 0, as_good)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.pareto_mask([1.0, 2.0], True), r"expected \[P, M\]"),
        (lambda: metrics.pareto_mask([[1.0, 2.0]], [True]), r"higher_is_better \(1,\)"),
        (lambda: metrics.hypervolume([[1.0, 2.0]], [0.0], True), r"reference has shape \(1,\)"),
        (lambda: metrics.distance_to_front([[1.0, 2.0]], [[1.0]], True), "2 objectives and the front 1"),
        (lambda: metrics.distance_to_front([[1.0]], [[1.0]], True, scale=0), "expected positive"),
    ],
)
def test_wrong_input_is_one_line(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
