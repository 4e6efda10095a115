"""Power of the paired t-test against statsmodels and simulation."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from mtl import metrics
from mtl.errors import InputError


def reference_power(effect, n, level):
    """One tail each: the noncentral t behind statsmodels is NaN where the far tail is as good as 0."""
    tails = [TTestPower().power(effect, n, level / 2, alternative=side) for side in ("larger", "smaller")]
    return tails[0] + np.nan_to_num(tails[1])


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30, 200])
@pytest.mark.parametrize("level", [0.05, 0.001])
def test_power_equals_statsmodels(n, level):
    for effect in (0.0, 0.1, 0.5, 1.0, 2.0):
        expected = reference_power(effect, n, level)
        found = metrics.paired_power(3.0, -3.0 * effect, n, level)
        assert found == pytest.approx(expected, rel=1e-8, abs=1e-10)


def test_power_equals_simulation():
    d = np.random.default_rng(0).normal(1.0, 1.5, size=(20_000, 8))
    found = np.mean(stats.ttest_1samp(d, 0, axis=1).pvalue < 0.05)
    assert metrics.paired_power(1.5, 1.0, 8) == pytest.approx(found, abs=4 * math.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("effect", [0.05, 0.3, 0.8, 1.5, 5.0])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_seeds_needed_equals_statsmodels(effect, power):
    found = metrics.seeds_needed(2.0, 2.0 * effect, power)
    assert reference_power(effect, found, 0.05) >= power
    assert found == 2 or reference_power(effect, found - 1, 0.05) < power
    assert found == int(found)


def test_textbook_value():
    """Cohen (1988): effect 0.5, power 0.8, two-sided 0.05 need 34 pairs."""
    assert metrics.seeds_needed(1.0, 0.5) == 34
    assert metrics.seeds_needed(1.0, -0.5) == 34


@pytest.mark.parametrize("n", [2, 3, 5, 10, 200])
@pytest.mark.parametrize("level", [0.05, 0.01])
def test_detectable_difference_has_the_power_asked_for(n, level):
    found = metrics.detectable_difference(0.02, n, power=0.9, level=level)
    assert reference_power(found / 0.02, n, level) == pytest.approx(0.9, rel=1e-7)


def test_seeds_and_difference_are_inverse():
    smallest = metrics.detectable_difference(1.0, 20)
    assert metrics.seeds_needed(1.0, smallest * (1 + 1e-9)) == 20
    assert metrics.seeds_needed(1.0, smallest * (1 - 1e-6)) == 21


def test_extremes():
    assert metrics.seeds_needed(1.0, 0.0) == math.inf
    assert metrics.seeds_needed(1.0, 1e-9) == math.inf
    assert metrics.seeds_needed(1.0, 1e-4) == pytest.approx(7.849e8, rel=1e-3)
    assert metrics.seeds_needed(0.0, 0.1) == 2
    assert metrics.detectable_difference(0.0, 5) == 0
    assert metrics.paired_power(1e-17, 1.0, 5) == 1
    assert metrics.paired_power(0.0, 0.0, 5) == pytest.approx(0.05)
    for value in (
        metrics.seeds_needed(math.nan, 1.0),
        metrics.seeds_needed(1.0, math.nan),
        metrics.detectable_difference(1.0, 1),
        metrics.detectable_difference(math.nan, 9),
        metrics.paired_power(1.0, 1.0, 1),
    ):
        assert math.isnan(value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 1.0), "std_of_differences is -1"),
        ((1.0, 1.0, 1.0), "power 1"),
        ((1.0, 1.0, 0.01), "level is 0.05"),
    ],
)
def test_wrong_input_is_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        metrics.seeds_needed(*arguments)
    assert "\n" not in str(error.value)
