"""The five formulas by hand, their extremes, and bad input."""

import numpy as np
import pytest

from mtl.errors import InputError
from mtl.fusion import FUSIONS, fuse

P = np.array([[0.1, 0.5, 0.2], [0.4, 0.25, 0.0], [0.2, 1.0, 0.9]])
W, A, B = np.array([1.0, 2.0, 0.5]), np.array([0.5, 1.0, 2.0]), np.array([0.0, 1.0, 3.0])


def test_weighted_sum_by_hand():
    np.testing.assert_allclose(fuse("weighted_sum", P, weights=W), [1.2, 0.9, 2.65], rtol=1e-14)


def test_a_click_comes_first():
    expected = [0.1 * (1 + 1.0 + 0.1), 0.4 * (1 + 0.5), 0.2 * (1 + 2.0 + 0.45)]
    np.testing.assert_allclose(fuse("click_first", P, weights=[2.0, 0.5]), expected, rtol=1e-14)
    np.testing.assert_array_equal(fuse("click_first", P[:, :1]), P[:, 0])


def test_products_are_the_logarithms_of_products():
    found = fuse("power_product", P, weights=W, exponents=A)
    np.testing.assert_allclose(found, np.log(np.prod((1 + W * P) ** A, axis=1)), rtol=1e-13)
    columns = [P[:, 0], P[:, 1], np.array([3.0, 200.0, 10.0])]  # the last one is a price
    found = fuse("commerce", columns, exponents=A)
    np.testing.assert_allclose(found, np.log(np.prod(np.stack(columns, 1) ** A, axis=1)), rtol=1e-13)


def test_a_product_neither_underflows_nor_forgets_the_other_scores():
    tiny = np.array([[1e-300, 1e-300, 2.0], [1e-300, 1e-300, 1.0], [0.0, 1.0, 1.0], [0.0, 2.0, 1.0]])
    found = fuse("commerce", tiny, exponents=[3.0, 3.0, 1.0])
    assert np.isfinite(found).all()
    assert found[0] > found[1]
    assert found[3] > found[2]


def test_rank_sum_ranks_within_requests_and_shares_ties():
    groups = ["b", "a", "b", "a", "b"]
    scores = np.array([[0.3, 5.0], [0.1, 1.0], [0.3, 7.0], [0.9, 2.0], [0.8, 6.0]])
    ranks = np.array([[2.5, 3.0], [2.0, 2.0], [2.5, 1.0], [1.0, 1.0], [1.0, 2.0]])
    parameters = {"weights": [1.0, 2.0], "exponents": [0.5, 1.5], "offsets": [1.0, 4.0]}
    expected = 1 / (ranks[:, 0] ** 0.5 + 1) + 2 / (ranks[:, 1] ** 1.5 + 4)
    np.testing.assert_allclose(fuse("rank_sum", scores, groups, **parameters), expected, rtol=1e-14)
    # A rising change of a score changes nothing.
    np.testing.assert_allclose(fuse("rank_sum", np.exp(scores), groups, **parameters), expected, rtol=1e-14)


@pytest.mark.parametrize("name", FUSIONS)
def test_a_score_with_more_of_everything_is_no_worse_and_numbers_stand_for_vectors(name):
    better, worse = np.array([0.9, 0.8, 0.7]), np.array([0.1, 0.2, 0.3])
    found = fuse(name, np.stack([worse, better]))
    assert found[1] > found[0]
    ones = {k: np.ones(3 - p.fewer) for k, p in FUSIONS[name].parameters.items()}
    np.testing.assert_array_equal(fuse(name, P, **ones), fuse(name, P, **dict.fromkeys(ones, 1.0)))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: fuse("sum", P), "unknown fusion 'sum'"),
        (lambda: fuse("commerce", P, weights=1.0), "unknown parameter of commerce: 'weights'"),
        (
            lambda: fuse("click_first", P, weights=[1, 2, 3]),
            "weights is .*, expected 2 finite numbers or one",
        ),
        (lambda: fuse("commerce", -P), r"row 0, score 0 is -0.1, expected a finite number >= 0"),
        (lambda: fuse("weighted_sum", [[0.1, np.nan]]), "row 1, score 0 is nan, expected a finite number"),
        (lambda: fuse("weighted_sum", P[0]), r"scores have shape \(3,\), expected \[N, K\]"),
        (lambda: fuse("weighted_sum", [[0.1, 0.2], [0.3]]), "scores cannot be stacked"),
        (lambda: fuse("rank_sum", P, [1, 2]), r"groups have shape \(2,\), expected \(3,\)"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
