"""Friedman's test, critical difference and cliques against SciPy, Demšar (2006) and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mtl import metrics
from mtl.errors import InputError

VALUES = np.random.default_rng(2).normal([0, 0.2, 0.5, 0.5, 1.5], size=(9, 5))


def f_of_ranks(ranks):
    """F of a two-way analysis of variance of the ranks, which is Iman and Davenport's statistic."""
    n, k = ranks.shape
    between = n * np.sum((ranks.mean(axis=0) - ranks.mean()) ** 2)
    total = np.sum((ranks - ranks.mean()) ** 2)  # blocks have equal rank sums
    return between / (k - 1) / ((total - between) / ((k - 1) * (n - 1)))


@pytest.mark.parametrize("values", [VALUES, np.round(VALUES)], ids=["distinct", "ties"])
def test_friedman_equals_scipy_and_analysis_of_variance(values):
    found = metrics.friedman_test(values, higher_is_better=False)
    expected = stats.friedmanchisquare(*values.T)
    assert (found.chi2, found.chi2_p_value) == pytest.approx(tuple(expected), rel=1e-12)
    ranks = stats.rankdata(values, axis=1)
    np.testing.assert_allclose(found.mean_ranks, ranks.mean(axis=0), rtol=1e-14)
    assert found.f == pytest.approx(f_of_ranks(ranks), rel=1e-11)
    assert found.p_value == pytest.approx(stats.f.sf(found.f, 4, 32), rel=1e-11)
    assert found.n == 9


def test_direction_per_block():
    mixed = VALUES * np.where(np.arange(9) % 2, 1, -1)[:, None]
    assert metrics.friedman_test(mixed, np.arange(9) % 2 == 0).f == pytest.approx(
        metrics.friedman_test(VALUES, False).f
    )


def test_perfect_agreement_has_an_exact_p_value():
    """Three methods, four blocks in the same order: each later block repeats the first by 1 in 3!."""
    agree = metrics.friedman_test([[1, 2, 3]] * 4, True)
    assert agree.f == math.inf
    assert agree.p_value == pytest.approx(6.0**-3)
    np.testing.assert_array_equal(agree.mean_ranks, [3, 2, 1])
    assert metrics.friedman_test([[1, 1, 3]] * 4, True).p_value == pytest.approx(3.0**-3)


def test_friedman_without_evidence():
    assert metrics.friedman_test(np.ones((4, 3)), True).p_value == 1
    for values in ([[1.0, 2.0]], np.ones((3, 1)), [[1.0, math.nan], [1.0, 2.0]]):
        assert math.isnan(metrics.friedman_test(values, True).p_value)
    with pytest.raises(InputError, match=r"expected \[blocks, methods\]"):
        metrics.friedman_test([1.0, 2.0], True)


def test_friedman_holds_its_level():
    rng = np.random.default_rng(4)
    p = [metrics.friedman_test(rng.normal(size=(10, 4)), True).p_value for _ in range(2000)]
    assert 0.035 < np.mean(np.array(p) < 0.05) < 0.065


@pytest.mark.parametrize(
    ("k", "q05", "q10"),
    [(2, 1.960, 1.645), (3, 2.343, 2.052), (4, 2.569, 2.291), (5, 2.728, 2.459), (10, 3.164, 2.920)],
)
def test_critical_values_of_demsar_table_5(k, q05, q10):
    unit = math.sqrt(k * (k + 1) / 6)
    assert metrics.critical_difference(k, 1) / unit == pytest.approx(q05, abs=1.01e-3)
    assert metrics.critical_difference(k, 1, level=0.1) / unit == pytest.approx(q10, abs=1.01e-3)


def test_critical_difference_of_demsars_example():
    """Four classifiers on 14 data sets, section 3.2.2: 1.25 at 0.05 and 1.12 at 0.10."""
    assert metrics.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert metrics.critical_difference(4, 14, level=0.1) == pytest.approx(1.12, abs=0.005)


def test_critical_difference_of_sixty_methods_bounds_the_range_of_ranks():
    """Under no difference the mean ranks of 60 methods span more than CD in about 5 % of studies."""
    rng = np.random.default_rng(5)
    ranks = rng.random((1000, 30, 60)).argsort(axis=-1).mean(axis=1)
    exceeded = np.mean(np.ptp(ranks, axis=1) >= metrics.critical_difference(60, 30))
    assert 0.025 < exceeded < 0.065


def test_critical_difference_refuses_nonsense():
    for arguments in ((1, 5), (3, 0), (3, 5, 1.0)):
        with pytest.raises(InputError, match="expected at least 2"):
            metrics.critical_difference(*arguments)


def test_cliques_by_hand():
    # 1.0 1.8 2.6 4.0 with CD 1: 1.0–1.8 and 1.8–2.6 hang together, 4.0 stands alone.
    assert metrics.cliques([2.6, 1.0, 4.0, 1.8], 1.0) == ((1, 3), (3, 0))
    assert metrics.cliques([1.0, 2.0], 1.0) == ()  # exactly the critical difference is a difference
    assert metrics.cliques([1.0, 2.0, 3.0], 5.0) == ((0, 1, 2),)
    assert metrics.cliques([1.0, math.nan, 1.2], 1.0) == ((0, 2),)
    assert metrics.cliques([], 1.0) == ()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.integers(1, 12))
def test_cliques_join_exactly_the_pairs_that_do_not_differ(ranks, difference):
    runs = metrics.cliques(ranks, difference)
    joined = {(i, j) for run in runs for i in run for j in run if i < j}
    k = range(len(ranks))
    assert joined == {(i, j) for i in k for j in k if i < j and abs(ranks[i] - ranks[j]) < difference}
    assert not any(set(a) < set(b) for a in runs for b in runs)
