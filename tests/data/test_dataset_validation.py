import numpy as np
import pytest

from mtl.data import Dataset, IdColumn, Schema, validate
from mtl.errors import InputError
from mtl.tasks import Task


def columns(rows=4):
    return {
        "ids": np.tile(np.array([[0, 2]], np.int32), (rows, 1)),
        "numeric": np.ones((rows, 1), np.float32),
        "labels": np.tile(np.array([[0, 1, 2.5]], np.float32), (rows, 1)),
    }


def dataset(**changes):
    """A valid data set, with arrays of the `val` split replaced."""
    schema = Schema(
        (IdColumn("user", 1), IdColumn("item", 3)),
        ("price",),
        (Task("click"), Task("class", "multiclass", 3), Task("time", "regression")),
    )
    splits = {split: columns() for split in ("train", "val", "test")}
    splits["val"] |= changes
    return Dataset("tiny", schema, splits, {})


def changed(key, row, column, value):
    array = columns()[key]
    array[row, column] = value
    return {key: array}


def test_a_valid_set_is_returned_as_it_is():
    given = dataset()
    assert validate(given) is given


@pytest.mark.parametrize(
    "change, expected",
    [
        (changed("numeric", 2, 0, np.nan), "row 2, column 'price' is nan, expected a finite"),
        (changed("numeric", 1, 0, np.inf), "row 1, column 'price' is inf"),
        (changed("ids", 3, 1, 3), r"row 3, column 'item': id 3 is outside \[0, 3\)"),
        (changed("ids", 0, 0, -1), r"row 0, column 'user': id -1 is outside \[0, 1\)"),
        (changed("labels", 1, 0, 2), "row 1, label 'click' is 2.0, expected one of 0 … 1"),
        (changed("labels", 1, 0, np.nan), "row 1, label 'click' is nan"),
        (changed("labels", 2, 1, 3), "row 2, label 'class' is 3.0, expected one of 0 … 2"),
        (changed("labels", 0, 2, np.nan), "row 0, label 'time' is nan, expected a finite"),
        ({"ids": np.zeros((4, 1), np.int32)}, r"ids has shape \(4, 1\), expected \(4, 2\)"),
        ({"ids": np.zeros((4, 2), np.int64)}, "ids is int64, expected int32"),
        ({"numeric": np.ones((3, 1), np.float32)}, r"numeric has shape \(3, 1\)"),
        ({"numeric": None}, "column group 'numeric' is missing"),
        ({"labels": np.zeros((0, 3), np.float32)}, "is empty"),
        ({"mask": np.ones((4, 3), np.float32)}, "mask is float32, expected bool"),
        ({"mask": np.tile([True, False, True], (4, 1))}, "task 'class' has no row"),
    ],
)
def test_what_is_wrong_is_named_with_split_row_and_column(change, expected):
    with pytest.raises(InputError, match=expected) as caught:
        validate(dataset(**change))
    assert "data set 'tiny', split 'val'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_outside_the_sample_space_are_not_looked_at():
    mask = np.ones((4, 3), bool)
    mask[1, 0] = False
    given = dataset(mask=mask, **changed("labels", 1, 0, np.nan))
    assert validate(given) is given


def test_a_missing_split_is_named():
    given = dataset()
    del given.splits["test"]
    with pytest.raises(InputError, match="split 'test' is missing"):
        validate(given)


@pytest.mark.parametrize(
    "ids, expected",
    [
        ((IdColumn("a", 2, "users"),), "column 'a' has role 'users', expected user, item, context"),
        ((IdColumn("a", 2), IdColumn("b", 3, table="a")), "'b' reads the table of 'a', expected an earlier"),
        ((IdColumn("b", 2, table="a"), IdColumn("a", 2)), "'b' reads the table of 'a', expected an earlier"),
        (
            (IdColumn("a", 2, sequence="s"), IdColumn("b", 2), IdColumn("c", 2, sequence="s")),
            "columns of sequence 's' are not neighbours",
        ),
        ((IdColumn("a", 2, "domain"), IdColumn("b", 2, "domain")), "a, b all have role 'domain'"),
    ],
)
def test_what_id_columns_say_of_themselves_is_checked(ids, expected):
    wrong = dataset()
    wrong = wrong._replace(schema=wrong.schema._replace(id_columns=ids))
    with pytest.raises(InputError, match=expected):
        validate(wrong)


def test_an_event_needs_the_events_that_it_requires():
    schema = Schema((), ("x",), (Task("click"), Task("buy", parents=("click",), requires=("click",))))
    split = {
        "ids": np.zeros((3, 0), np.int32),
        "numeric": np.ones((3, 1), np.float32),
        "labels": np.array([[1, 1], [0, 0], [0, 1]], np.float32),
    }
    with pytest.raises(InputError, match="row 2: 'buy' is 1 but 'click', which it requires, is 0"):
        validate(Dataset("tiny", schema, dict.fromkeys(("train", "val", "test"), split), {}))
    split["mask"] = np.array([[1, 1], [1, 1], [1, 0]], bool)
    validate(Dataset("tiny", schema, dict.fromkeys(("train", "val", "test"), split), {}))
