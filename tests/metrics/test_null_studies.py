"""Simulated studies in which nothing differs: how often something is found, and what intervals cover."""

import numpy as np
import pytest
from scipy import stats

from mtl import metrics

pytestmark = pytest.mark.slow

STUDIES, METHODS, TASKS, SEEDS = 500, 8, 2, 10

NOISE = {
    "normal": lambda rng, size: rng.normal(size=size),
    "heavy tails": lambda rng, size: rng.standard_t(3, size=size),
    "skewed": lambda rng, size: rng.lognormal(size=size),
    "outliers": lambda rng, size: rng.normal(size=size) * np.where(rng.random(size) < 0.1, 10, 1),
}

TESTS = {
    "t": lambda a, b: metrics.paired_test(a, b).p_value,
    "wilcoxon": metrics.wilcoxon_test,
    "sign flip": metrics.sign_flip_test,
}


def simulated(noise, gain=0.0):
    """Results `[studies, methods, tasks, seeds]`: an effect of the seed that methods share, and noise."""
    rng = np.random.default_rng(20)
    seed_effect = 3 * rng.normal(size=(STUDIES, 1, TASKS, SEEDS))
    results = seed_effect + NOISE[noise](rng, (STUDIES, METHODS, TASKS, SEEDS))
    results[:, 1] += gain
    return results


def p_values(results, test):
    """`[studies, (methods − 1) · tasks]`: every method against the first on every task."""
    return np.array(
        [
            [TESTS[test](study[m, t], study[0, t]) for m in range(1, METHODS) for t in range(TASKS)]
            for study in results
        ]
    )


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("noise", NOISE)
def test_at_most_one_null_study_in_twenty_finds_a_difference(noise, test, record_property):
    p = p_values(simulated(noise), test)
    corrected = sum(metrics.holm(row).min() < 0.05 for row in p)
    uncorrected = np.count_nonzero(p.min(axis=1) < 0.05)
    record_property("false studies of 500", f"{corrected} with Holm, {uncorrected} without")
    print(f"{noise}, {test}: {corrected} of {STUDIES} null studies with Holm, {uncorrected} without")
    assert corrected <= stats.binom.ppf(0.999, STUDIES, 0.05)
    assert uncorrected > 2 * stats.binom.ppf(0.999, STUDIES, 0.05)  # what the correction is for


@pytest.mark.parametrize("test", TESTS)
def test_a_real_difference_is_found(test):
    """Two standard deviations of a single run, on both tasks; the other six methods stay equal."""
    p = p_values(simulated("normal", gain=3.0), test)
    adjusted = np.array([metrics.holm(row) for row in p])
    found = np.mean(adjusted[:, :TASKS] < 0.05)
    print(f"{test}: finds {found:.2f}")
    assert found > 0.8


@pytest.mark.parametrize(
    ("draw", "mean", "seeds", "bca", "student"),
    [
        ("normal", 0.0, 10, 0.89, 0.95),
        ("normal", 0.0, 50, 0.94, 0.95),
        ("exponential", 1.0, 10, 0.88, 0.90),
        ("exponential", 1.0, 50, 0.94, 0.93),
        ("lognormal", np.exp(0.5), 10, 0.82, 0.83),
        ("lognormal", np.exp(0.5), 200, 0.93, 0.92),
    ],
)
def test_coverage_is_as_documented(draw, mean, seeds, bca, student):
    values = getattr(np.random.default_rng(1), draw)(size=(seeds, 2000))
    bootstrapped = metrics.bootstrap_interval(values, resamples=2000)
    found = np.mean((bootstrapped.low <= mean) & (mean <= bootstrapped.high))
    intervals = np.array([metrics.mean_interval(column)[1:3] for column in values.T])
    found_t = np.mean((intervals[:, 0] <= mean) & (mean <= intervals[:, 1]))
    print(f"{draw}, {seeds} seeds: BCa covers {found:.3f}, Student t {found_t:.3f}")
    assert (found, found_t) == pytest.approx((bca, student), abs=0.025)
