"""The scenario recipe: cosines, rates, shares, and what each knob leaves alone."""

import numpy as np
import pytest

from mtl.data import load
from mtl.errors import InputError

SMALL = {"num_train": 2_000, "num_val": 2_000, "num_test": 40_000, "num_scenarios": 3}


def scenarios(**arguments):
    return load("scenario_synthetic", **{**SMALL, **arguments})


@pytest.fixture(scope="module")
def plain():
    return scenarios()


@pytest.mark.parametrize("similarity", [0.0, 0.3, 1.0])
def test_the_knob_is_the_cosine_between_scenarios(similarity):
    dataset = scenarios(similarity=similarity, num_test=10)
    cosines = np.array(dataset.provenance["weight_cosines"])
    assert cosines.shape == (2, 3, 3)
    np.testing.assert_allclose(
        cosines, similarity + (1 - similarity) * np.tile(np.eye(3), (2, 1, 1)), atol=1e-9
    )


def test_base_rates_and_shares_fall_from_scenario_to_scenario(plain):
    test = plain.splits["test"]
    domain, truth = test["ids"][:, 0], test["truth"].astype(np.float64)
    for s in (1, 2, 3):
        for t, rate in enumerate((0.3, 0.15)):
            odds = rate / (1 - rate) * 1.5 ** (1 - s)
            assert truth[s == domain, t].mean() == pytest.approx(odds / (1 + odds), rel=0.05)
    rows = np.bincount(domain)[1:]
    np.testing.assert_allclose(rows[:-1] / rows[1:], 2, rtol=0.06)
    assert plain.provenance["rows_by_scenario"]["test"] == rows.tolist()


def test_events_happen_at_their_true_rates(plain):
    test = plain.splits["test"]
    p = test["truth"].astype(np.float64)
    for s in (1, 2, 3):
        here = test["ids"][:, 0] == s
        sd = np.sqrt((p[here] * (1 - p[here])).sum(axis=0))
        assert (np.abs((test["labels"][here] - p[here]).sum(axis=0)) < 4 * sd).all()


def test_a_scenarios_own_features_are_zero_elsewhere_and_matter_there(plain):
    test = plain.splits["test"]
    own = test["numeric"][:, 20:].reshape(-1, 3, 2)
    for s in (1, 2, 3):
        here = test["ids"][:, 0] == s
        assert (own[here, s - 1] != 0).all()
        assert not np.delete(own[here], s - 1, axis=1).any()
        logit = np.log(test["truth"][here, 0].astype(np.float64))
        assert np.abs([np.corrcoef(logit, column)[0, 1] for column in own[here, s - 1].T]).max() > 0.1


def test_the_shift_moves_features_and_not_the_function(plain):
    still = scenarios(shift=0.0)
    for name in ("ids", "labels"):
        agree = (still.splits["test"][name] == plain.splits["test"][name]).mean()
        assert agree > 0.999  # features are rounded at another scale
    np.testing.assert_allclose(still.splits["test"]["truth"], plain.splits["test"]["truth"], atol=1e-4)
    assert np.abs(still.splits["test"]["numeric"][:, :20].mean(axis=0)).max() < 0.05
    domain = plain.splits["test"]["ids"][:, 0]
    means = [plain.splits["test"]["numeric"][domain == s, :20].mean(axis=0) for s in (1, 2)]
    assert np.abs(means[0] - means[1]).max() > 0.3


def test_a_world_outlives_its_rows(plain):
    other = scenarios(seed=5, world_seed=0)
    assert other.provenance["weight_cosines"] == plain.provenance["weight_cosines"]
    assert (other.splits["test"]["numeric"] != plain.splits["test"]["numeric"]).any()
    np.testing.assert_array_equal(scenarios().splits["val"]["labels"], plain.splits["val"]["labels"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"similarity": 1.5}, r"similarity is 1.5, expected a number in \[0, 1\]"),
        ({"dim": 7}, "dim is 7, expected at least 8 for 3 scenarios"),
        ({"base_rates": (0.5,)}, r"base_rates is \(0.5,\), expected 2 numbers between 0 and 1"),
        ({"base_rates": (0.5, 1)}, "expected 2 numbers between 0 and 1"),
        ({"imbalance": 0.5}, "imbalance is 0.5, expected a number >= 1"),
        ({"num_scenarios": 0}, "num_scenarios is 0, expected an integer >= 1"),
    ],
)
def test_bad_arguments_are_one_clear_line(arguments, message):
    with pytest.raises(InputError, match=message):
        scenarios(**arguments)
