"""Probability of improvement against Mann–Whitney's U and SciPy's bootstrap."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mtl import metrics
from mtl.errors import InputError

RNG = np.random.default_rng(11)
X, Y = RNG.normal(0.6, 1, (14, 2)), RNG.normal(size=(10, 2))
LEVELS = st.lists(st.integers(0, 4), min_size=2, max_size=8)


def improvement(x, y, higher=True, *, paired=False, **options):
    return metrics.probability_of_improvement(x, y, higher, paired=paired, resamples=2000, **options)


@settings(max_examples=40, deadline=None)
@given(LEVELS, LEVELS)
def test_unpaired_is_mann_whitney_with_ties(x, y):
    expected = stats.mannwhitneyu(x, y).statistic / (len(x) * len(y))
    assert improvement(x, y).value == pytest.approx(expected, rel=1e-14)
    assert improvement(x, y, higher=False).value == pytest.approx(1 - expected, rel=1e-14)


def share_won(x, y, axis):
    gap = x[..., :, None] - y[..., None, :]
    return np.mean(0.5 * (gap > 0) + 0.5 * (gap >= 0), axis=(-2, -1))


def test_unpaired_interval_equals_scipy():
    found = improvement(X[:, 0], Y[:, 0], seed=5)
    expected = stats.bootstrap(
        (X[:, 0], Y[:, 0]), share_won, n_resamples=2000, rng=np.random.default_rng(5)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-11)


def test_paired_interval_is_that_of_the_share_of_seeds_won():
    x, y = np.round(X[:10, 0], 1), np.round(Y[:, 0], 1)
    found = improvement(x, y, paired=True, seed=2)
    won = 0.5 * (x > y) + 0.5 * (x >= y)
    assert found == pytest.approx(metrics.bootstrap_interval(won, resamples=2000, seed=2), rel=1e-12)


def test_tasks_of_a_run_stay_together():
    found = improvement(X[:10], -Y, [True, False], paired=True, seed=2)
    signed = np.stack([X[:10, 0] > -Y[:, 0], X[:10, 1] < -Y[:, 1]], axis=1)
    expected = metrics.bootstrap_interval(signed.mean(axis=1), resamples=2000, seed=2)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("paired", [True, False])
def test_copies_of_one_task_narrow_the_interval_only_when_independent(paired):
    """Two tasks that are copies carry one task's information; as strata they count as two."""
    x, y = np.repeat(X[:10, :1], 2, axis=1), np.repeat(Y[:, :1], 2, axis=1)
    one = improvement(x[:, 0], y[:, 0], paired=paired)
    together = improvement(x, y, paired=paired)
    apart = improvement(x, y, paired=paired, stratified=True)
    assert together == pytest.approx(one, rel=1e-12)
    assert apart.value == pytest.approx(one.value)
    assert (apart.high - apart.low) / (one.high - one.low) == pytest.approx(math.sqrt(0.5), abs=0.12)


def test_stratified_interval_is_bca_of_independent_tasks():
    """Against the general bootstrap with one sample per task and method."""

    def mean_share(x1, y1, x2, y2, axis):
        return (share_won(x1, y1, axis) + share_won(x2, y2, axis)) / 2

    found = improvement(X, Y, stratified=True, seed=8)
    expected = stats.bootstrap(
        (X[:, 0], Y[:, 0], X[:, 1], Y[:, 1]), mean_share, n_resamples=2000, rng=np.random.default_rng(8)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-11)


@pytest.mark.parametrize("paired", [True, False])
def test_winning_every_seed_is_not_certainty(paired):
    won = improvement(np.arange(10.0) + 100, np.arange(10.0), paired=paired)
    assert (won.value, won.high) == (1.0, 1.0)
    exact = stats.binomtest(10, 10).proportion_ci(0.95, method="exact").low
    assert won.low == pytest.approx(exact, rel=1e-12)
    lost = improvement(np.arange(10.0), np.arange(10.0) + 100, paired=paired)
    assert (lost.low, lost.high) == pytest.approx((0.0, 1 - exact))
    tied = improvement(np.ones(10), np.ones(10), paired=paired)
    assert tied[:3] == pytest.approx((0.5, exact / 2, 1 - exact / 2))


def test_the_smaller_sample_bounds_what_winning_says():
    """Four runs above forty are four independent comparisons, in either order."""
    exact = stats.binomtest(4, 4).proportion_ci(0.95, method="exact").low
    assert improvement(np.arange(4.0) + 100, np.arange(40.0)).low == pytest.approx(exact)
    assert improvement(np.arange(40.0) + 100, np.arange(4.0)).low == pytest.approx(exact)


def test_failed_or_missing_seeds():
    assert math.isnan(improvement([1.0, math.nan], [0.0, 0.0]).value)
    assert math.isnan(improvement([], []).value)
    single = improvement([1.0], [0.0, 2.0])
    assert single.value == 0.5
    assert math.isnan(single.low)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [1.0], True), "the same seeds"),
        (([[1.0, 2.0]], [[1.0]], True), "the same tasks"),
        ((np.ones((1, 1, 1)), [1.0], True), r"expected \[seeds\]"),
    ],
)
def test_wrong_input_is_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        metrics.probability_of_improvement(*arguments, paired=True)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="resamples is 0"):
        metrics.probability_of_improvement([1.0], [1.0], True, paired=True, resamples=0)
