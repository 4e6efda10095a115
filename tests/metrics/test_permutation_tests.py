"""Sign-flip and signed-rank tests against SciPy and by enumeration."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from mtl import metrics
from mtl.errors import InputError

TESTS = [metrics.sign_flip_test, metrics.wilcoxon_test]
PAIRS = st.lists(st.integers(-6, 6), min_size=2, max_size=9)


def by_enumeration(score, difference):
    """Share of sign patterns whose statistic is as far out as that of the data."""
    signs = np.array(list(itertools.product([1, -1], repeat=len(difference))))
    return np.array([score(s * difference) for s in signs])


@settings(max_examples=40, deadline=None)
@given(PAIRS)
def test_sign_flip_is_the_share_of_patterns(difference):
    d = np.array(difference, float)
    assume(np.ptp(d) > 0)
    sums = np.abs(by_enumeration(np.sum, d))
    assert metrics.sign_flip_test(d, np.zeros(len(d))) == np.mean(sums >= abs(d.sum()))


def test_sign_flip_equals_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 1, 11), rng.normal(size=11)
    expected = stats.permutation_test(
        (a, b), lambda x, y, axis: np.mean(x - y, axis), permutation_type="samples", n_resamples=np.inf
    )
    assert metrics.sign_flip_test(a, b) == pytest.approx(expected.pvalue, rel=1e-12)


def test_sign_flip_of_many_pairs_is_near_the_exact_value_and_never_zero():
    rng = np.random.default_rng(1)
    d = rng.normal(0.5, 1, 16)
    sums = np.abs(by_enumeration(np.sum, d))
    exact = np.mean(sums >= abs(d.sum()) - 1e-12)
    found = metrics.sign_flip_test(d, np.zeros(16), resamples=20_000)
    assert abs(found - exact) < 4 * math.sqrt(exact * (1 - exact) / 20_000)
    assert metrics.sign_flip_test(d, np.zeros(16), resamples=20_000) == found
    assert metrics.sign_flip_test(10 + 0.1 * rng.normal(size=40), np.zeros(40), resamples=99) == 1 / 100


def test_rounding_hides_no_equal_sum():
    """Ten equal gains and two others: sums that differ by rounding only count as reached."""
    d = np.array([0.1] * 10 + [0.2, 0.3])
    whole = np.round(10 * d).astype(int)
    expected = np.mean(np.abs(by_enumeration(np.sum, whole)) >= whole.sum())
    assert metrics.sign_flip_test(d, np.zeros(12)) == expected


@settings(max_examples=40, deadline=None)
@given(PAIRS)
def test_wilcoxon_with_ties_and_zeros_is_the_share_of_patterns(difference):
    d = np.array(difference, float)
    assume(np.ptp(d) > 0)
    nonzero = d[d != 0]
    ranks = stats.rankdata(np.abs(nonzero))
    sums = by_enumeration(lambda flipped: ranks[flipped > 0].sum(), nonzero)
    observed = ranks[nonzero > 0].sum()
    expected = min(1, 2 * min(np.mean(sums <= observed), np.mean(sums >= observed)))
    assert metrics.wilcoxon_test(d, np.zeros(len(d))) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [5, 10, 30, 200])
def test_wilcoxon_equals_scipy(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.3, 1, n), rng.normal(size=n)
    expected = stats.wilcoxon(a, b, method="exact").pvalue
    assert metrics.wilcoxon_test(a, b) == pytest.approx(expected, rel=1e-9)


def test_wilcoxon_sees_ties_through_rounding():
    a, b = [0.91, 0.81, 0.55, 0.40], [0.90, 0.80, 0.57, 0.37]  # differences .01 .01 −.02 .03
    assert metrics.wilcoxon_test(a, b) == metrics.wilcoxon_test([1, 1, 0, 3], [0, 0, 2, 0])


@pytest.mark.parametrize("test", TESTS)
def test_few_seeds_cannot_reach_the_level(test):
    assert test([1.0, 2.0, 3.0, 4.0, 5.0], np.zeros(5)) == 2 / 2**5
    assert test([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], np.zeros(6)) == 2 / 2**6


@pytest.mark.parametrize("test", TESTS)
def test_pairs_that_no_test_can_judge(test):
    assert test([1.0, 2.0], [1.0, 2.0]) == 1.0
    assert math.isnan(test([1.0], [0.0]))
    assert math.isnan(test([], []))
    assert math.isnan(test([1.0, math.nan, 2.0], [0.0, 0.0, 0.0]))
    assert math.isnan(test([0.1 + 0.2, 0.2 + 0.2, 0.4 + 0.2], [0.1, 0.2, 0.4]))
    with pytest.raises(InputError, match="pairs need equal shapes"):
        test([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="one value per seed"):
        test(np.ones((2, 2)), np.zeros((2, 2)))


def test_resamples_must_be_positive():
    with pytest.raises(InputError, match="resamples is 0"):
        metrics.sign_flip_test([1.0, 2.0], [0.0, 0.0], resamples=0)
