"""Bootstrap intervals against SciPy, which draws the same resamples from the same generator."""

import importlib
import math

import numpy as np
import pytest
from scipy import stats

from mtl import metrics
from mtl.errors import InputError

RNG = np.random.default_rng(7)
SKEWED = RNG.gamma(2.0, size=(12, 3))
OTHER = RNG.normal(1.5, 2.0, size=(9, 3))
PARTNER = SKEWED + RNG.normal(size=(12, 3))


def difference_of_medians(a, b, axis):
    return np.median(a, axis) - np.median(b, axis)


def ratio_of_variances(a, b, axis):
    return np.var(a, axis, ddof=1) / np.var(b, axis, ddof=1)


def distinct_values(x, axis):
    return 1 + np.count_nonzero(np.diff(np.sort(x, axis), axis=axis), axis=axis)


def correlation(a, b, axis):
    a, b = a - a.mean(axis, keepdims=True), b - b.mean(axis, keepdims=True)
    return np.sum(a * b, axis) / np.sqrt(np.sum(a * a, axis) * np.sum(b * b, axis))


@pytest.mark.parametrize(
    ("statistic", "samples", "paired"),
    [
        (np.mean, (SKEWED,), False),
        (np.std, (SKEWED,), False),
        (difference_of_medians, (SKEWED, OTHER), False),
        (ratio_of_variances, (SKEWED, OTHER), False),
        # With fewer pairs some resamples are permutations of the data, which SciPy counts as above or
        # below the estimate as rounding falls.
        (correlation, (SKEWED, PARTNER), True),
    ],
)
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_bca_equals_scipy(statistic, samples, paired, confidence):
    found = metrics.bootstrap(
        statistic, *samples, paired=paired, confidence=confidence, resamples=2000, seed=3
    )
    expected = stats.bootstrap(
        samples,
        statistic,
        paired=paired,
        confidence_level=confidence,
        n_resamples=2000,
        axis=0,
        rng=np.random.default_rng(3),
    ).confidence_interval
    np.testing.assert_allclose(found.value, statistic(*samples, axis=0), rtol=1e-13)
    np.testing.assert_allclose(found.low, expected.low, rtol=1e-11)
    np.testing.assert_allclose(found.high, expected.high, rtol=1e-11)
    assert found.n == min(map(len, samples))


def test_one_column_is_an_interval_of_numbers_and_equals_its_column():
    one, all_columns = metrics.bootstrap_interval(SKEWED[:, 1]), metrics.bootstrap_interval(SKEWED)
    assert isinstance(one.low, float)
    assert metrics.Interval(*one).mean == pytest.approx(SKEWED[:, 1].mean())
    assert (one.low, one.high) == pytest.approx((all_columns.low[1], all_columns.high[1]), rel=1e-12)
    cube = metrics.bootstrap_interval(SKEWED.reshape(12, 3, 1))
    np.testing.assert_array_equal(cube.high[:, 0], all_columns.high)


def test_blocks_of_columns_change_nothing(monkeypatch):
    whole = metrics.bootstrap(difference_of_medians, SKEWED, OTHER, resamples=200)
    monkeypatch.setattr(importlib.import_module("mtl.metrics.bootstrap"), "BLOCK", 200 * 12)
    parts = metrics.bootstrap(difference_of_medians, SKEWED, OTHER, resamples=200)
    np.testing.assert_array_equal(parts.low, whole.low)


def test_paired_difference_is_the_bootstrap_of_differences():
    a, b = SKEWED[:9, 0], OTHER[:, 0]
    pairs = metrics.bootstrap(lambda a, b, axis: (a - b).mean(axis), a, b, paired=True, seed=1)
    assert pairs == pytest.approx(metrics.bootstrap_interval(a - b, seed=1), rel=1e-11)


def test_interval_follows_shift_and_scale():
    base = metrics.bootstrap_interval(SKEWED)
    moved = metrics.bootstrap_interval(5 - 3 * SKEWED)
    np.testing.assert_allclose(moved.low, 5 - 3 * base.high, rtol=2e-3)  # quantiles of 10 000 draws
    np.testing.assert_allclose(metrics.bootstrap_interval(2 * SKEWED).high, 2 * base.high, rtol=1e-12)


def test_a_resample_equal_to_the_data_counts_half():
    """Mean of four values: the 24 of 256 resamples that permute them are neither above nor below."""
    values = np.array([0.1, 0.7, 0.9, 2.3])
    for order in (values, values[::-1], values[[2, 0, 3, 1]]):
        found = metrics.bootstrap(lambda x, axis: np.sum(x, axis) / 4, order, resamples=50_000)
        assert found[:3] == pytest.approx(metrics.bootstrap_interval(values, resamples=50_000)[:3], rel=0.01)


def test_a_failed_seed_spoils_its_column_only():
    broken = SKEWED.copy()
    broken[4, 1] = math.nan
    for statistic in (np.mean, np.median):
        found = metrics.bootstrap_interval(broken, statistic=statistic)
        whole = metrics.bootstrap_interval(SKEWED, statistic=statistic)
        assert np.isnan([found.value[1], found.low[1], found.high[1]]).all()
        np.testing.assert_array_equal(found.low[[0, 2]], whole.low[[0, 2]])


def test_degenerate_data():
    assert metrics.bootstrap_interval([0.1] * 7) == pytest.approx((0.1, 0.1, 0.1, 7), rel=1e-15)
    single = metrics.bootstrap_interval([0.3])
    assert single.value == 0.3
    assert math.isnan(single.low)
    assert math.isnan(single.high)
    empty = metrics.bootstrap_interval([])
    assert math.isnan(empty.value)
    assert empty.n == 0
    assert metrics.bootstrap_interval(np.zeros((4, 0))).low.shape == (0,)
    # Every resample has fewer distinct values than the data, so no bias correction exists: percentiles.
    found = metrics.bootstrap_interval(np.arange(30.0), statistic=distinct_values)
    draws = distinct_values(np.random.default_rng(0).integers(30, size=(10_000, 30)), axis=1)
    assert (found.low, found.high) == tuple(np.percentile(draws, [2.5, 97.5]))
    # A resample without variance in the denominator has no ratio, and the interval is not invented.
    ratio = metrics.bootstrap(ratio_of_variances, [1.0, 2.0], [1.0, 3.0])
    assert ratio.value == pytest.approx(0.25)
    assert math.isnan(ratio.high)


def test_beyond_the_pole_of_the_formula_the_ends_are_percentiles():
    """One value of 200 is 1: the acceleration is near 1/6, so that a z above 6 has no corrected level."""
    values = np.eye(200)[0]
    found = metrics.bootstrap_interval(values, confidence=1 - 1e-10, resamples=3000)
    draws = values[np.random.default_rng(0).integers(200, size=(3000, 200))].mean(axis=1)
    expected = np.percentile(draws, [5e-9, 100 - 5e-9])
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-12)


def test_an_expanded_interval_of_normal_values_is_nearly_students():
    """With n values a resampled mean has the spread of the data over n; Student's has that over n − 1."""
    values = np.random.default_rng(0).normal(size=(8, 200))
    plain, wide = (metrics.bootstrap_interval(values, expanded=expanded) for expanded in (False, True))
    student = 2 * stats.t.ppf(0.975, 7) * values.std(axis=0, ddof=1) / np.sqrt(8)
    ratio = [np.mean((e.high - e.low) / student) for e in (plain, wide)]
    assert ratio[0] < 0.8
    assert 0.95 < ratio[1] < 1.1


def test_expanding_holds_the_level_better_for_few_values():
    values = np.random.default_rng(1).normal(size=(5, 2000))
    covered = []
    for expanded in (False, True):
        found = metrics.bootstrap_interval(values, resamples=4000, expanded=expanded)
        covered.append(np.mean((found.low <= 0) & (found.high >= 0)))
    assert covered[0] < 0.87
    assert covered[1] > 0.90


def test_expanding_is_nothing_for_many_values():
    values = np.random.default_rng(2).normal(size=(2000, 3))
    plain, wide = (metrics.bootstrap_interval(values, expanded=expanded) for expanded in (False, True))
    np.testing.assert_allclose((wide.high - wide.low) / (plain.high - plain.low), 1.0, atol=0.01)
    assert np.isnan(metrics.bootstrap_interval(values[:1], expanded=True).low).all()


def test_of_two_values_an_expanded_interval_is_all_there_is():
    found = metrics.bootstrap_interval(np.array([[1.0], [3.0]]), expanded=True)
    np.testing.assert_array_equal([found.low, found.value, found.high], [[1.0], [2.0], [3.0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.bootstrap_interval(3.0), "samples have shapes"),
        (lambda: metrics.bootstrap_interval([1.0, 2.0], confidence=95), "confidence is 95"),
        (lambda: metrics.bootstrap_interval([1.0, 2.0], resamples=0), "resamples is 0"),
        (lambda: metrics.bootstrap(np.mean), "samples have shapes"),
        (lambda: metrics.bootstrap(correlation, [1.0], [1.0, 2.0], paired=True), "pairs need equal"),
        (lambda: metrics.bootstrap(correlation, SKEWED, OTHER[:, :2]), "equal columns"),
    ],
)
def test_wrong_input_is_one_line(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
