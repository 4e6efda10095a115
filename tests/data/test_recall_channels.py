"""Recall channels: what pre-training finds, and how vectors become columns."""

import numpy as np
import pytest

from mtl.columns import channel_columns
from mtl.data import (
    Channel,
    Dataset,
    IdColumn,
    Schema,
    load,
    pretrain_channels,
    sequence_synthetic,
    validate,
    with_channels,
)
from mtl.errors import InputError
from mtl.tasks import Task

# User 1 has items 1 and 2, users 2 and 4 items 3 and 4, user 3 only padding; user 4 is in the test alone.
SCHEMA = Schema(
    (
        IdColumn("user", 5, "user"),
        IdColumn("item", 5, "item"),
        IdColumn("past_1", 5, "user", "past", "item"),
        IdColumn("past_2", 5, "user", "past", "item"),
    ),
    ("age",),
    (Task("click"),),
)
TRAIN = np.array([[1, 3, 1, 2], [1, 1, 2, 1], [2, 4, 3, 4], [2, 2, 4, 3], [3, 1, 0, 0]], np.int32)
TEST = np.array([[1, 2, 0, 0], [2, 3, 3, 0], [4, 3, 3, 4]], np.int32)


def columns(ids):
    return {
        "ids": ids,
        "numeric": np.arange(len(ids), dtype=np.float32)[:, None],
        "labels": (np.arange(len(ids)) % 2).astype(np.float32)[:, None],
    }


def dataset(**changes):
    splits = {"train": columns(TRAIN), "val": columns(TEST), "test": columns(TEST)}
    return Dataset("tiny", SCHEMA._replace(**changes), splits, {"source": "made up"})


def test_products_of_the_vectors_are_the_counts_as_far_as_the_rank_goes():
    """Two groups of users and items that never meet: rank 2 is all there is."""
    u2a, u2a2a = pretrain_channels(dataset(), dim=2)
    counts = np.zeros((5, 5))
    counts[1, [1, 2]] = counts[2, [3, 4]] = 2
    np.testing.assert_allclose(u2a.users @ u2a.items.T, np.log1p(counts), atol=1e-8)
    together = np.zeros((5, 5))
    together[1:3, 1:3] = together[3:, 3:] = 2
    expected = np.log1p(together)
    # A user's vector is the mean over her histories: here of items that are all alike.
    np.testing.assert_allclose((u2a2a.users @ u2a2a.items.T)[[1, 2]], expected[[1, 3]], atol=1e-8)


def test_padding_and_users_without_history_have_the_vector_0():
    for channel in pretrain_channels(dataset(), dim=2):
        np.testing.assert_allclose(channel.items[0], 0, atol=1e-9)
        np.testing.assert_allclose(channel.users[[0, 3, 4]], 0, atol=1e-9)


def test_neither_labels_nor_other_splits_are_read():
    made = dataset()
    other = {**made.splits, "test": columns(TEST[:, ::-1].copy())}
    other["train"] = {**other["train"], "labels": 1 - other["train"]["labels"]}
    for one, same in zip(pretrain_channels(made, 2), pretrain_channels(made._replace(splits=other), 2)):
        np.testing.assert_array_equal(one.users, same.users)
        np.testing.assert_array_equal(one.items, same.items)


def test_channels_tell_planted_interests():
    """In four of five pairs or more the product is larger for the item of a category that the user likes."""
    made = sequence_synthetic(
        **{"num_users": 60, "num_items": 80, "num_categories": 16, "num_interests": 2, "num_train": 3000}
    )
    past = made.splits["train"]["ids"]
    liked = np.zeros((61, 17))
    np.add.at(liked, (np.repeat(past[:, 0], 12), past[:, 18:30].ravel()), 1)
    liked[:, 0] = 0
    top = np.argsort(-liked, axis=1)[:, :2]
    category = dict(zip(past[:, 1], past[:, 2], strict=True))
    items = np.array(sorted(category))
    for channel in pretrain_channels(made, dim=16):
        scores = channel.users[1:] @ channel.items[items].T
        inside = np.array([[category[i] in top[u] for i in items] for u in range(1, 61)])
        assert (scores[inside][:, None] > scores[~inside]).mean() > 0.8


def test_vectors_become_columns_by_id_at_unit_scale():
    rng = np.random.default_rng(0)
    channel = Channel("text", rng.normal(size=(5, 3)), 7 * rng.normal(size=(5, 3)))
    before = dataset()
    after = validate(with_channels(before, [channel]))
    ((users, items),) = channel_columns(after.schema)
    assert (users, items) == ((1, 2, 3), (4, 5, 6))
    assert after.schema.numeric_columns[:2] == ("age", "channel:text:user:0")
    train, test = (after.splits[split]["numeric"] for split in ("train", "test"))
    assert train.dtype == np.float32
    np.testing.assert_array_equal(train[:, 0], before.splits["train"]["numeric"][:, 0])
    for positions, table, at in ((users, channel.users, 0), (items, channel.items, 1)):
        scale = np.sqrt(np.square(table[TRAIN[:, at]]).sum(axis=1).mean())
        np.testing.assert_allclose(train[:, positions], table[TRAIN[:, at]] / scale, rtol=1e-5)
        np.testing.assert_allclose(test[:, positions], table[TEST[:, at]] / scale, rtol=1e-5)
    assert after.provenance["channels"] == ["text"]
    assert before.splits["train"]["numeric"].shape == (5, 1)


def test_the_data_set_of_planted_interests_brings_them_along():
    made = load("sequence_synthetic", num_train=200, num_val=20, num_test=20, channel_dim=3)
    assert len(made.schema.numeric_columns) == 12
    assert [len(users) for users, _ in channel_columns(made.schema)] == [3, 3]
    assert "truth" in made.splits["test"]


def channel(name="text", users=(5, 3), items=(5, 3), fill=1.0):
    return Channel(name, np.full(users, fill), np.full(items, fill))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (channel(users=(4, 3)), r"channel 'text': users has shape \(4, 3\), expected \(5, d\)"),
        (channel(items=(5, 2)), r"users has shape \(5, 3\), expected \(5, d\) with one d"),
        (channel(users=(5,)), r"users has shape \(5,\)"),
        (channel(fill=np.nan), "users has a number that is not finite"),
        (channel(name="a:b"), "channel 'a:b': expected a name without ':'"),
    ],
)
def test_a_channel_that_does_not_fit_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        with_channels(dataset(), [wrong])


def test_a_name_can_be_used_once():
    with pytest.raises(InputError, match="that is not yet in use"):
        with_channels(with_channels(dataset(), [channel()]), [channel()])


@pytest.mark.parametrize(
    "role, message", [("user", "has 0 id columns of role 'user'"), ("item", "and 0 of role 'item'")]
)
def test_users_and_items_are_needed(role, message):
    kept = tuple(c._replace(role="") if c.role == role and not c.sequence else c for c in SCHEMA.id_columns)
    for use in (pretrain_channels, lambda d: with_channels(d, [channel()])):
        with pytest.raises(InputError, match=message):
            use(dataset(id_columns=kept))


def test_pre_training_needs_a_history_of_items():
    apart = tuple(c._replace(table="") for c in SCHEMA.id_columns)
    with pytest.raises(InputError, match="pretrain_channels reads a sequence of items, but the"):
        pretrain_channels(dataset(id_columns=apart))
    with pytest.raises(InputError, match="dim is 5, expected less than 5 users or items"):
        pretrain_channels(dataset(), dim=5)
