"""Metrics across tasks and statistics over seeds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from mtl import metrics
from mtl.errors import InputError

SAMPLES = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=2, max_size=8)


def test_delta_m_by_hand():
    # AUC 0.80 -> 0.84 is 5 % better, RMSE 2 -> 3 is 50 % worse: (-5 + 50) / 2.
    assert metrics.delta_m([0.84, 3.0], [0.80, 2.0], [True, False]) == pytest.approx(22.5)
    assert metrics.delta_m([0.80, 2.0], [0.80, 2.0], [True, False]) == 0


def test_delta_m_of_a_published_row():
    """MultiMNIST accuracies of Sener & Koltun (2018): uniform scaling against single task."""
    found = metrics.delta_m([96.46, 94.99], [97.23, 95.90], [True, True])
    assert found == pytest.approx(50 * (0.77 / 97.23 + 0.91 / 95.90), rel=1e-12)


def test_delta_m_over_seeds_and_with_awkward_baselines():
    values, base = np.array([[0.9, 1.0], [0.7, 2.0]]), np.array([[0.8, 2.0], [0.8, 2.0]])
    direction = [True, False]
    rows = [metrics.delta_m(v, b, direction) for v, b in zip(values, base)]
    np.testing.assert_allclose(metrics.delta_m(values, base, direction), rows, rtol=1e-14)
    assert metrics.delta_m([-0.5], [-1.0], [True]) == pytest.approx(-50)  # a higher r2 is better
    assert math.isnan(metrics.delta_m([1.0], [0.0], [True]))


def test_gain_is_positive_for_better():
    np.testing.assert_allclose(
        metrics.mtl_gain([0.6823, 0.1346], [0.6787, 0.1321], [True, False]),
        [0.0036, -0.0025],  # PLE paper, asymmetric sharing
        atol=1e-12,
    )


def test_mean_rank_by_hand():
    values = [[0.9, 1.0], [0.8, 1.0], [0.7, 3.0]]
    np.testing.assert_array_equal(metrics.mean_rank(values, [True, False]), [1.25, 1.75, 3.0])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=6))
def test_mean_rank_equals_scipy(rows):
    values = np.array(rows, float)
    cost = values * [-1, 1, -1]
    expected = stats.rankdata(cost, axis=0).mean(axis=1)
    np.testing.assert_allclose(metrics.mean_rank(values, [True, False, True]), expected)


def test_a_missing_metric_has_no_rank_and_moves_no_other():
    ranks = metrics.mean_rank([[0.9], [math.nan], [0.7]], [True])
    np.testing.assert_array_equal(ranks, [1, math.nan, 2])


def test_mean_rank_per_seed():
    values = np.random.default_rng(0).integers(0, 3, size=(5, 4, 2)).astype(float)
    values[2, 1, 0] = math.nan
    per_seed = metrics.mean_rank(values, [True, False])
    assert per_seed.shape == (5, 4)
    for seed, ranks in zip(values, per_seed):
        np.testing.assert_array_equal(ranks, metrics.mean_rank(seed, [True, False]))
    assert np.argwhere(np.isnan(per_seed)).tolist() == [[2, 1]]
    with pytest.raises(InputError, match="methods, metrics"):
        metrics.mean_rank([1.0], [True])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ([0.1, -0.3], [0.2, -0.1], True),
        ([0.1, -0.3], [0.2, 0.1], False),  # the loss is within noise
        ([-0.1, -0.3], [0.2, -0.1], False),  # the gain is within noise
        ([0.1, 0.3], [0.2, 0.4], False),
        ([math.nan, -0.3], [math.nan, -0.1], False),
    ],
)
def test_seesaw(low, high, expected):
    assert metrics.seesaw(low, high) is expected


@settings(max_examples=40, deadline=None)
@given(SAMPLES)
def test_interval_equals_scipy(values):
    found = metrics.mean_interval(values)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert found.n == len(values)
    if len(set(values)) > 1:
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert found[1:3] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_interval_of_few_or_failed_seeds():
    assert metrics.mean_interval([2.0]) == pytest.approx((2.0, math.nan, math.nan, 1), nan_ok=True)
    assert metrics.mean_interval([3.0, 3.0]) == (3.0, 3.0, 3.0, 2)
    empty = metrics.mean_interval([])
    assert math.isnan(empty.mean)
    assert empty.n == 0
    assert math.isnan(metrics.mean_interval([1.0, math.nan, 1.0]).mean)
    with pytest.raises(InputError, match="confidence is 95"):
        metrics.mean_interval([1.0, 2.0], confidence=95)


@settings(max_examples=40, deadline=None)
@given(SAMPLES, st.integers(0, 1000))
def test_paired_test_equals_scipy(a, seed):
    b = np.random.default_rng(seed).normal(size=len(a))
    found, expected = metrics.paired_test(a, b), stats.ttest_rel(a, b)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-300)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-8)
    mirrored = metrics.paired_test(b, a)
    assert mirrored.difference == pytest.approx(-found.difference)
    assert mirrored.p_value == pytest.approx(found.p_value)


def test_paired_test_without_noise():
    assert metrics.paired_test([1.0, 2.0], [1.0, 2.0]).p_value == 1.0
    # Equal differences up to rounding are no evidence of certainty.
    constant = metrics.paired_test([0.1 + 0.2, 0.2 + 0.2, 0.4 + 0.2], [0.1, 0.2, 0.4])
    assert constant.difference == pytest.approx(0.2)
    assert math.isnan(constant.p_value)
    single = metrics.paired_test([1.0], [0.5])
    assert single.difference == 0.5
    assert math.isnan(single.p_value)
    assert math.isnan(single.low)
    with pytest.raises(InputError, match="pairs need equal shapes"):
        metrics.paired_test([1.0, 2.0], [1.0])


def test_paired_test_holds_its_level():
    """Under no difference about 5 % of the p-values fall below 0.05, heavy pairing or not."""
    rng = np.random.default_rng(0)
    shared = rng.normal(scale=10, size=(2000, 4))
    a, b = shared + rng.normal(size=(2000, 4)), shared + rng.normal(size=(2000, 4))
    rejected = np.mean([metrics.paired_test(x, y).p_value < 0.05 for x, y in zip(a, b)])
    assert 0.035 < rejected < 0.065


def test_holm_by_hand():
    # Sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04, made monotone.
    np.testing.assert_allclose(metrics.holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(metrics.holm([0.9, 0.8]), [1.0, 1.0])
    assert metrics.holm([]).shape == (0,)


@pytest.mark.parametrize("m", [1, 4, 30])
def test_holm_equals_statsmodels(m):
    p = np.random.default_rng(m).beta(0.3, 3.0, size=m)
    np.testing.assert_allclose(metrics.holm(p), multipletests(p, method="holm")[1], rtol=1e-12)


def test_holm_ignores_untested_comparisons():
    np.testing.assert_allclose(metrics.holm([0.01, math.nan, 0.03]), [0.02, math.nan, 0.03], rtol=1e-12)
    with pytest.raises(InputError, match="p_values"):
        metrics.holm([1.5])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.randoms())
def test_holm_is_monotone_conservative_and_order_free(p, random):
    adjusted = metrics.holm(p)
    assert np.all(adjusted >= np.array(p))
    assert np.all(adjusted <= np.minimum(1, np.array(p) * len(p)) + 1e-15)
    assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0)
    order = list(range(len(p)))
    random.shuffle(order)
    np.testing.assert_array_equal(metrics.holm(np.array(p)[order]), adjusted[order])
