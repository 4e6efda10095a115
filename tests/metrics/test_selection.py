"""What is maximised on validation, and the names by which it is asked for."""

import pytest

from mtl.errors import InputError
from mtl.metrics import selection, selection_text, selection_value
from mtl.tasks import Task

TASKS = (Task("click"), Task("buy"), Task("spend", kind="regression"))
METRICS = {
    "click": {"auc": 0.75, "logloss": 0.5},
    "buy": {"auc": 0.25, "logloss": 0.125},
    "spend": {"rmse": 2.0},
}


@pytest.mark.parametrize(
    "select, value, text",
    [
        ("mean", (0.75 + 0.25 - 2.0) / 3, "the mean over tasks of the primary metric"),
        ("buy", 0.25, "the primary metric of buy"),
        ("spend", -2.0, "the primary metric of spend"),
        ("auc", 0.5, "the mean over tasks of auc"),
        ("logloss", -0.3125, "the mean over tasks of logloss"),
        ("buy.logloss", -0.125, "logloss of buy"),
    ],
)
def test_values_by_hand(select, value, text):
    assert selection_value(TASKS, METRICS, select) == pytest.approx(value, abs=1e-15)
    assert selection_text(select) == text


@pytest.mark.parametrize("select", ["bye", "buy.rmse", "spend.auc", "r3", "buy.calibration_ratio"])
def test_unknown_names_are_refused(select):
    with pytest.raises(InputError, match=f"unknown train.select '{select}'"):
        selection(TASKS, select)
