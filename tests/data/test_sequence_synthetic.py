"""Users with planted interests: the rows follow the recipe, and the knobs move what they name."""

import json

import numpy as np
import pytest

from mtl.data import load, sequence_synthetic
from mtl.errors import InputError

SMALL = {
    **{"num_users": 30, "num_items": 60, "num_categories": 12, "num_interests": 3, "length": 5},
    **{"num_train": 400, "num_val": 300, "num_test": 300},
}
FIRST = {"user": 0, "item": 1, "category": 2, "price": 3, "refer": 4, "refer_category": 5}


def parts(dataset, split="val"):
    """Columns by name, sequences as `[N, L]`."""
    ids = dataset.splits[split]["ids"]
    found = {name: ids[:, at] for name, at in FIRST.items()}
    length = (ids.shape[1] - len(FIRST)) // 3
    for i, name in enumerate(("past_item", "past_category", "past_kind")):
        start = len(FIRST) + i * length
        found[name] = ids[:, start : start + length]
    return found


def test_the_truth_is_the_formula_of_the_history():
    dataset = load("sequence_synthetic", price_task=True, bias=-1.5, interest=2.5, refer=0.7, **SMALL)
    c, truth = parts(dataset), dataset.splits["val"]["truth"]
    prices = dataset.splits["val"]["labels"][:, 2] + 1
    for row in range(300):
        same = c["past_category"][row] == c["category"][row]
        share = min(c["past_kind"][row][same].sum(), 3) / 3  # A view counts 1, a purchase 2.
        logit = -1.5 + 2.5 * share + 0.7 * share * (c["refer_category"][row] == c["category"][row])
        buy = 1.0 - abs(c["price"][row] - prices[row])
        np.testing.assert_allclose(truth[row, :2], 1 / (1 + np.exp(-np.array([logit, buy]))), rtol=1e-5)
    assert np.isnan(truth[:, 2]).all()
    assert "truth" not in dataset.splits["train"]


def test_clicks_and_purchases_happen_as_often_as_their_probabilities_say():
    dataset = sequence_synthetic(**{**SMALL, "num_test": 20_000})
    labels, truth = (dataset.splits["test"][key].astype(np.float64) for key in ("labels", "truth"))
    expected = np.stack([truth[:, 0], truth.prod(axis=1)], axis=1)
    deviation = np.sqrt((expected * (1 - expected)).mean(axis=0) / len(labels))
    assert (np.abs(labels.mean(axis=0) - expected.mean(axis=0)) < 4 * deviation).all()
    assert (labels[:, 1] <= labels[:, 0]).all()


def test_a_history_begins_with_the_most_recent_and_padding_is_alike_in_all_sequences():
    c = parts(sequence_synthetic(**SMALL), "train")
    live = c["past_item"] > 0
    assert (np.diff(live.astype(int), axis=1) <= 0).all()
    for name in ("past_category", "past_kind"):
        np.testing.assert_array_equal(c[name] > 0, live)
    assert set(np.unique(live.sum(axis=1))) == set(range(6))


def test_an_item_has_one_category_and_one_price_wherever_it_is():
    c = parts(sequence_synthetic(**SMALL), "train")
    pairs = [("item", "category"), ("refer", "refer_category"), ("past_item", "past_category")]
    category_of = {}
    for items, categories in pairs:
        for item, category in zip(c[items].ravel(), c[categories].ravel(), strict=True):
            assert category_of.setdefault(item, category) == category
    assert category_of.pop(0) == 0
    assert set(category_of.values()) == set(range(1, 13))
    price_of = {}
    for item, price in zip(c["item"], c["price"], strict=True):
        assert price_of.setdefault(item, price) == price


def test_histories_tell_the_interests_and_the_preferred_price():
    dataset = sequence_synthetic(**{**SMALL, "num_train": 6000, "length": 12}, price_task=True)
    c = parts(dataset, "train")
    price_of = dict(zip(c["item"], c["price"], strict=True))
    preferred = dataset.splits["train"]["labels"][:, 2] + 1
    for user in range(1, 4):
        own = c["user"] == user
        past = c["past_category"][own]
        counts = np.bincount(past[past > 0], minlength=13)[1:]
        top = np.sort(counts)[::-1]
        # Four in five from three categories, one in five from all twelve: about 0.28 each against 0.017.
        assert top[2] > 5 * top[3]
        assert len(set(preferred[own])) == 1
    known = np.array([price_of.get(item, 0) for item in range(61)])
    distance = np.abs(known[c["past_item"]] - preferred[:, None])[known[c["past_item"]] > 0]
    assert distance.mean() < 1.6  # Of two uniform levels it would be 2.29.


def test_what_moves_probabilities_leaves_the_columns_alone():
    one = sequence_synthetic(**SMALL)
    other = sequence_synthetic(bias=-1.0, interest=1.0, refer=0.0, saturation=1, **SMALL)
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(one.splits[split]["ids"], other.splits[split]["ids"])
    assert not np.array_equal(one.splits["val"]["truth"], other.splits["val"]["truth"])


def test_a_seed_repeats_another_differs_and_so_do_the_splits():
    one, same, other = (sequence_synthetic(seed=seed, **SMALL) for seed in (3, 3, 4))
    for key in ("ids", "labels", "truth"):
        np.testing.assert_array_equal(one.splits["test"][key], same.splits["test"][key])
    assert not np.array_equal(one.splits["test"]["ids"], other.splits["test"]["ids"])
    assert not np.array_equal(one.splits["val"]["ids"], one.splits["test"]["ids"])


def test_the_share_of_empty_histories_is_that_asked_for():
    for empty in (0.0, 0.4):
        c = parts(sequence_synthetic(empty=empty, **{**SMALL, "num_train": 4000}), "train")
        found = (c["past_item"] == 0).all(axis=1).mean()
        assert abs(found - empty) < 0.04


def test_schema_and_provenance():
    dataset = load("sequence_synthetic", price_task=True, **SMALL)
    columns = {column.name: column for column in dataset.schema.id_columns}
    assert columns["refer"].table == columns["past_item_5"].table == "item"
    assert columns["past_category_1"].table == columns["refer_category"].table == "category"
    assert columns["past_kind_1"].table == ""
    assert columns["past_kind_2"].table == "past_kind_1"
    assert {columns[name].role for name in ("item", "category", "price")} == {"item"}
    assert [(t.name, t.kind, t.requires) for t in dataset.schema.tasks] == [
        ("click", "binary", ()),
        ("buy", "binary", ("click",)),
        ("price", "multiclass", ()),
    ]
    assert json.loads(json.dumps(dataset.provenance)) == dataset.provenance
    assert dataset.provenance["arguments"]["num_items"] == 60
    rate = dataset.splits["train"]["labels"][:, 0].mean()
    assert dataset.provenance["label_rates"]["train"]["click"] == pytest.approx(rate)


@pytest.mark.parametrize(
    "wrong, expected",
    [
        ({"num_users": 0}, "num_users is 0, expected an integer >= 1"),
        ({"num_items": 11}, "num_items is 11, expected at least num_categories = 12"),
        ({"num_interests": 13}, "num_categories is 12, expected at least num_interests = 13"),
        ({"length": 1}, "length is 1, expected an integer >= 2"),
        ({"num_val": 1}, "num_val is 1, expected an integer >= 2"),
        ({"bias": float("nan")}, "bias is nan, expected a number in"),
        ({"interest": "much"}, "interest is 'much'"),
        ({"saturation": 0}, "saturation is 0, expected an integer >= 1"),
        ({"empty": 1.0}, r"empty is 1, expected a number in \[0, 1\)"),
        ({"empty": -0.1}, r"empty is -0\.1"),
        ({"price_task": 1}, "price_task is 1, expected true or false"),
        ({"channel_dim": -1}, "channel_dim is -1, expected an integer >= 0"),
        ({"channel_dim": 31}, "dim is 31, expected less than 31 users or items"),
        ({"seed": "0"}, "seed is '0', expected an integer"),
    ],
)
def test_wrong_arguments_are_named(wrong, expected):
    with pytest.raises(InputError, match=expected) as caught:
        sequence_synthetic(**{**SMALL, **wrong})
    assert "\n" not in str(caught.value)
