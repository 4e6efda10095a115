"""The funnel: its rates, its truth, what its knobs change and what they leave alone."""

import numpy as np
import pytest

from mtl.data import load
from mtl.errors import InputError

SMALL = {"num_train": 4_000, "num_val": 4_000, "num_test": 60_000, "num_users": 50, "num_items": 40}


def funnel(**arguments):
    return load("funnel_synthetic", **{**SMALL, "click_rate": 0.2, "conversion_rate": 0.1, **arguments})


@pytest.fixture(scope="module")
def plain():
    return funnel()


@pytest.fixture(scope="module")
def carts():
    return funnel(with_cart=True)


def test_the_means_of_the_truth_are_the_rates_asked_for(plain):
    truth = plain.splits["test"]["truth"].astype(np.float64)
    np.testing.assert_allclose(truth.mean(axis=0), [0.2, 0.1], rtol=0.02)


@pytest.mark.parametrize("name", ["plain", "carts"])
def test_events_happen_at_their_true_rates(name, request):
    """Every event, where what it requires has happened, within four standard errors of its expectation."""
    dataset = request.getfixturevalue(name)
    columns, tasks = dataset.splits["test"], dataset.schema.tasks
    names = [task.name for task in tasks]
    for t, task in enumerate(tasks):
        live = np.ones(len(columns["labels"]), bool)
        for required in task.requires:
            live &= columns["labels"][:, names.index(required)] == 1
        p = columns["truth"][live, t].astype(np.float64)
        sd = np.sqrt(np.sum(p * (1 - p)))
        assert abs(columns["labels"][live, t].sum() - p.sum()) < 4 * sd
        assert live.sum() > 500


def test_clicked_impressions_convert_oftener_and_without_relatedness_they_do_not(plain):
    def gap(dataset):
        clicked = dataset.splits["test"]["labels"][:, 0] == 1
        rate = dataset.splits["test"]["truth"][:, 1].astype(np.float64)
        return rate[clicked].mean() / rate[~clicked].mean()

    assert gap(plain) > 1.3
    assert abs(gap(funnel(relatedness=0.0)) - 1) < 0.05
    assert abs(gap(funnel(selection=0.0)) - 1) < 0.05


def test_a_purchase_may_pass_the_cart_by_and_then_requires_the_click_alone(carts):
    purchase = carts.schema.tasks[2]
    assert purchase.parents == ("click", "cart")
    assert purchase.requires == ("click",)
    cart, bought = carts.splits["test"]["labels"][:, 1:].T
    assert ((cart == 0) & (bought == 1)).any()
    strict = funnel(with_cart=True, direct=0, conversion_rate=0.05)
    assert strict.schema.tasks[2].requires == ("cart",)
    cart, bought = strict.splits["test"]["labels"][:, 1:].T
    assert not ((cart == 0) & (bought == 1)).any()


def test_train_keeps_its_truth_to_itself(plain):
    assert "truth" not in plain.splits["train"]


def test_the_same_seed_is_the_same_set_and_a_world_outlives_its_rows(plain):
    again = funnel()
    other = funnel(seed=1, world_seed=0)
    for name in ("ids", "numeric", "labels"):
        np.testing.assert_array_equal(again.splits["test"][name], plain.splits["test"][name])
        assert (other.splits["test"][name] != plain.splits["test"][name]).any()
    assert other.provenance["intercepts"] == plain.provenance["intercepts"]
    assert funnel(seed=1).provenance["intercepts"] != plain.provenance["intercepts"]


def test_rates_change_labels_and_nothing_else(plain):
    rarer = funnel(click_rate=0.05)
    for name in ("ids", "numeric"):
        np.testing.assert_array_equal(rarer.splits["test"][name], plain.splits["test"][name])
    np.testing.assert_array_equal(rarer.splits["test"]["truth"][:, 1], plain.splits["test"]["truth"][:, 1])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"click_rate": 0}, "click_rate is 0, expected a number between 0 and 1"),
        ({"conversion_rate": 1.5}, r"conversion_rate is 1.5, expected a number in \[0, 1\]"),
        ({"relatedness": 2}, r"relatedness is 2, expected a number in \[-1, 1\]"),
        ({"with_cart": 1}, "with_cart is 1, expected true or false"),
        (
            {"with_cart": True, "direct": 0, "cart_rate": 0.1, "conversion_rate": 0.5},
            "conversion_rate is 0.5, but with direct = 0 only the 0.1 with a cart can buy",
        ),
        ({"num_users": 0}, "num_users is 0, expected an integer >= 1"),
        ({"click_rate": 1e-6}, "no click among the 4000 rows of split 'train'; raise num_train or the rates"),
    ],
)
def test_bad_arguments_are_one_clear_line(arguments, message):
    with pytest.raises(InputError, match=message):
        funnel(**arguments)
