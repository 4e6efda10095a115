import numpy as np
import pytest

from mtl.data import arguments, encode
from mtl.errors import InputError


def test_ids_count_from_one_in_rising_order_and_zero_is_anything_else():
    known = encode.vocabulary(np.array([30, 10, 30, 20]))
    np.testing.assert_array_equal(known, [10, 20, 30])
    ids = encode.to_ids(np.array([5, 10, 15, 30, 99]), known)
    np.testing.assert_array_equal(ids, [0, 1, 0, 3, 0])
    assert ids.dtype == np.int32


def test_rare_values_are_left_out_of_the_vocabulary():
    train = np.array(["b", "a", "b", "c", "c"], object)
    known = encode.vocabulary(train, min_count=2)
    np.testing.assert_array_equal(encode.to_ids(train, known), [1, 0, 1, 2, 2])


def test_an_empty_vocabulary_knows_nothing():
    np.testing.assert_array_equal(
        encode.to_ids(np.array([1, 2]), encode.vocabulary(np.array([], int))), [0, 0]
    )


def test_standardised_reads_the_training_rows_and_missing_values_are_their_mean():
    values = np.array([1.0, 3.0, np.nan, 100.0])
    np.testing.assert_allclose(encode.standardised(values, np.array([0, 1, 2])), [-1, 1, 0, 98])
    np.testing.assert_array_equal(encode.standardised(np.full(3, 7.0), np.arange(3)), np.zeros(3))


USERS = np.array([1, 2, 1, 1, 1, 2, 1])
TIMES = np.array([5, 1, 3, 5, 7, 9, 8])
ITEMS = np.array([11, 12, 13, 14, 15, 16, 17])
LIKED = np.array([1, 1, 1, 0, 1, 1, 1], bool)


def test_history_is_what_the_same_user_did_earlier_most_recent_first():
    expected = [
        [13, 0],  # user 1 at 5: only the row at 3 lies before, not the one shown at the same time
        [0, 0],
        [0, 0],
        [13, 0],
        [11, 13],  # the row at 5 without the event is passed over
        [12, 0],
        [15, 11],
    ]
    np.testing.assert_array_equal(encode.last_events(USERS, TIMES, ITEMS, LIKED, 2), expected)


def test_history_does_not_change_with_what_comes_later():
    whole = encode.last_events(USERS, TIMES, ITEMS, LIKED, 3)
    for row in range(len(USERS)):
        other = LIKED.copy()
        other[TIMES[row] <= TIMES] ^= True
        changed = encode.last_events(USERS, TIMES, ITEMS, other, 3)
        np.testing.assert_array_equal(changed[row], whole[row])


def test_history_agrees_with_a_loop():
    rng = np.random.default_rng(0)
    users, times, items = (rng.integers(1, n, 200) for n in (6, 30, 50))
    happened = rng.random(200) < 0.4
    found = encode.last_events(users, times, items, happened, 4)
    for row in range(200):
        past = np.flatnonzero(happened & (users == users[row]) & (times < times[row]))
        past = past[np.argsort(times[past], kind="stable")][::-1][:4]
        np.testing.assert_array_equal(found[row], np.pad(items[past], (0, 4 - len(past))))


def test_rows_of_one_time_are_not_divided():
    times = np.array([3, 1, 2, 2, 2, 2, 4, 5])
    split = encode.split_by_time(times, 0.25, 0.25)
    np.testing.assert_array_equal(split["train"], [1])
    np.testing.assert_array_equal(split["val"], [2, 3, 4, 5, 0])
    np.testing.assert_array_equal(split["test"], [6, 7])


def test_random_split_has_every_row_once():
    split = encode.split_at_random(10, 0.2, 0.3, seed=0)
    assert {name: len(rows) for name, rows in split.items()} == {"train": 5, "val": 2, "test": 3}
    np.testing.assert_array_equal(np.sort(np.concatenate(list(split.values()))), np.arange(10))


def test_shares_must_leave_rows_to_train():
    assert arguments.shares(0.1, 0) == (0.1, 0.0)
    with pytest.raises(InputError, match="expected less than 1"):
        arguments.shares(0.5, 0.5)
