"""Evaluation of a run, and the number that selects a step."""

import math

import numpy as np
import pytest

from mtl.errors import InputError
from mtl.metrics import selection_value
from mtl.tasks import Task
from mtl.train.evaluate import evaluate

CLICK, STARS, DIGIT = Task("click"), Task("stars", "regression"), Task("digit", "multiclass", 3)
METRICS = {"click": {"auc": 0.75}, "stars": {"rmse": 2.0, "r2": 0.5}, "digit": {"accuracy": 0.5}}


def test_errors_count_negatively():
    assert selection_value([CLICK, STARS], METRICS, "mean") == pytest.approx((0.75 - 2.0) / 2)
    assert selection_value([CLICK, STARS, DIGIT], METRICS, "stars") == -2.0
    assert selection_value([CLICK, STARS, DIGIT], METRICS, "digit") == 0.5


def test_a_metric_without_meaning_selects_nothing():
    spoilt = {**METRICS, "click": {"auc": math.nan}}
    assert math.isnan(selection_value([CLICK, STARS], spoilt, "mean"))
    assert selection_value([CLICK, STARS], spoilt, "stars") == -2.0


def test_a_metric_that_all_tasks_have_can_select():
    errors = {"a": {"rmse": 2.0, "r2": 0.5}, "b": {"rmse": 4.0, "r2": 0.25}}
    tasks = [Task("a", "regression"), Task("b", "regression")]
    assert selection_value(tasks, errors, "r2") == 0.375
    assert selection_value(tasks, errors, "rmse") == -3.0
    assert (
        selection_value(
            [CLICK, Task("like")], {"click": {"logloss": 1.0}, "like": {"logloss": 2.0}}, "logloss"
        )
        == -1.5
    )


def test_a_metric_selects_for_the_tasks_that_have_it():
    assert selection_value([CLICK, STARS], METRICS, "r2") == METRICS["stars"]["r2"]


def test_a_metric_that_no_task_has_cannot():
    with pytest.raises(InputError, match=r"unknown train\.select 'r2'"):
        selection_value([CLICK], METRICS, "r2")


def test_metrics_are_those_of_the_rows_inside():
    draw = np.random.default_rng(0)
    tasks = (CLICK, STARS, DIGIT)
    outputs = draw.normal(size=(3, 30, 3)).astype(np.float32)
    labels = np.stack([np.arange(30) % 2, draw.normal(size=30), np.arange(30) % 3], axis=1)
    labels = labels.astype(np.float32)
    mask = draw.random((30, 3)) < 0.6
    found = evaluate(tasks, outputs, np.where(mask, labels, np.float32(0)), mask)
    for t, task in enumerate(tasks):
        rows = mask[:, t]
        alone = evaluate([task], outputs[t : t + 1, rows], labels[rows, t : t + 1])[task.name]
        assert found[task.name] == pytest.approx(alone, nan_ok=True)
    squared = (outputs[1, mask[:, 1], 0] - labels[mask[:, 1], 1]) ** 2
    assert found["stars"]["rmse"] == pytest.approx(math.sqrt(squared.mean()), rel=1e-6)


def test_a_known_expectation_is_compared_with_what_is_served():
    tasks = (Task("click"), Task("minutes", "regression", parents=("click",), loss="watch_time"))
    outputs = np.zeros((2, 4, 1))
    outputs[1, :, 0] = np.log([1.0, 2.0, 4.0, 3.0])
    labels = np.array([[1, 5.0], [0, 0.0], [1, 4.0], [1, 3.0]])
    truth = np.array([[np.nan, 2.0], [np.nan, 1.0], [np.nan, 4.0], [np.nan, np.nan]])
    mask = np.array([[True, True], [True, True], [True, True], [True, True]])
    found = evaluate(tasks, outputs, labels, mask, truth)
    assert "truth_mae" not in found["click"]
    minutes = found["minutes"]
    assert minutes["rmse"] == pytest.approx(np.sqrt((16 + 4 + 0 + 0) / 4), rel=1e-12)
    assert minutes["truth_mae"] == pytest.approx(2 / 3, rel=1e-12)
    assert minutes["truth_ratio"] == pytest.approx(1.0, rel=1e-12)
    assert minutes["truth_concordance"] == pytest.approx(2 / 3, rel=1e-12)
