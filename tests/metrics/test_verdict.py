"""Claims judged by intervals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl import metrics
from mtl.errors import InputError

ENDS = st.tuples(*[st.integers(-5, 5)] * 2).map(sorted)
YES, NO, OPEN = "reproduced", "not reproduced", "undecided"


def interval(low, high):
    return metrics.Interval((low + high) / 2, low, high, 10)


@pytest.mark.parametrize(
    ("low", "high", "claim", "expected"),
    [
        (0.1, 0.3, {"at_least": 0.0}, YES),
        (-0.3, -0.1, {"at_least": 0.0}, NO),
        (-0.1, 0.3, {"at_least": 0.0}, OPEN),
        (0.0, 0.3, {"at_least": 0.0}, YES),
        (0.1, 0.3, {"at_most": 0.3}, YES),
        (0.4, 0.5, {"at_most": 0.3}, NO),
        (0.2, 0.5, {"at_most": 0.3}, OPEN),
        (0.1, 0.2, {"between": (0.0, 0.3)}, YES),
        (-0.2, -0.1, {"between": (0.0, 0.3)}, NO),
        (0.4, 0.5, {"between": (0.0, 0.3)}, NO),
        (-0.1, 0.4, {"between": (0.0, 0.3)}, OPEN),
        (-math.inf, 0.4, {"at_most": 0.5}, YES),
    ],
)
def test_verdict_by_hand(low, high, claim, expected):
    assert metrics.judge(interval(low, high), **claim).verdict == expected


@given(ENDS, ENDS)
def test_a_range_is_both_of_its_ends(ends, claim):
    found = metrics.judge(interval(*ends), between=tuple(claim)).verdict
    at_least = metrics.judge(interval(*ends), at_least=claim[0]).verdict
    at_most = metrics.judge(interval(*ends), at_most=claim[1]).verdict
    assert (found == YES) == (at_least == at_most == YES)
    assert (found == NO) == (NO in (at_least, at_most))


def test_too_few_seeds_decide_nothing():
    found = metrics.judge(metrics.mean_interval([5.0]), at_least=0.0)
    assert found.verdict == OPEN
    assert "too few seeds" in found.reason


def test_every_kind_of_interval_is_judged():
    a, b = np.array([1.0, 1.2, 0.9, 1.1]), np.zeros(4)
    for effect in (
        metrics.paired_test(a, b),
        metrics.bootstrap_interval(a),
        metrics.probability_of_improvement(a, b, True, paired=True),
    ):
        assert metrics.judge(effect, at_least=0.2).verdict == YES
    assert metrics.judge(metrics.paired_test(a, b), at_most=0).reason == (
        "the interval [0.8446, 1.255] lies outside the claim"
    )


@pytest.mark.parametrize(
    ("ends", "claim", "message"),
    [
        ((0, 1), {}, "exactly one"),
        ((0, 1), {"at_least": 0, "at_most": 1}, "exactly one"),
        ((0, 1), {"between": (1, 0)}, "two numbers in order"),
        ((0, 1), {"at_least": math.nan}, "two numbers in order"),
        ((1, 0), {"at_least": 0}, "low ≤ high"),
    ],
)
def test_wrong_input_is_one_line(ends, claim, message):
    with pytest.raises(InputError, match=message) as error:
        metrics.judge(interval(*ends), **claim)
    assert "\n" not in str(error.value)
