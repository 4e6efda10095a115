"""Conditional probabilities from joint logits, by hand."""

import math

import numpy as np
import pytest

from mtl.metrics import conditional_metrics, log_conditional, truth_metrics
from mtl.tasks import Task
from mtl.train.evaluate import evaluate


def logit(p):
    return math.log(p / (1 - p))


def test_the_ratio_of_two_probabilities():
    joint, required = [logit(0.1), logit(0.5), -200.0], [logit(0.4), logit(0.25), -100.0]
    np.testing.assert_allclose(
        np.exp(log_conditional(joint, required)), [0.25, 1.0, math.exp(-100)], rtol=1e-12
    )


def test_labels_count_where_the_required_event_happened_and_the_truth_where_it_did_not():
    rate = np.log([0.1, 0.3, 0.2, 0.4, 0.6])
    found = conditional_metrics(
        rate, [0, 1, 1, 0, 0], [True, True, True, False, False], truth=[9, 9, 9, 0.5, 0.3]
    )
    assert found["auc_given"] == 1.0
    assert found["truth_mae"] == pytest.approx((0.1 + 0.3) / 2)
    assert found["truth_rmse"] == pytest.approx(math.sqrt((0.01 + 0.09) / 2))
    assert found["truth_ratio"] == pytest.approx(1.0 / 0.8)


def test_unknown_truth_is_left_out_and_without_rows_there_is_none():
    found = truth_metrics([0.2, 0.9], [0.1, math.nan], [True, True])
    assert found["truth_mae"] == pytest.approx(0.1)
    assert math.isnan(truth_metrics([0.2], [0.1], [False])["truth_mae"])


def test_evaluation_reads_the_required_tasks_output():
    tasks = [Task("click"), Task("buy", parents=("click",), requires=("click",))]
    outputs = np.array([[[logit(0.5)]] * 4, [[logit(0.1)], [logit(0.4)], [logit(0.1)], [logit(0.2)]]])
    labels = np.array([[1, 0], [1, 1], [0, 0], [0, 0]], np.float32)
    truth = np.array([[0.5, 0.3], [0.5, 0.3], [0.25, 0.3], [0.5, 0.3]])
    found = evaluate(tasks, outputs, labels, truth=truth)
    assert found["buy"]["auc_given"] == 1.0
    assert found["buy"]["truth_mae"] == pytest.approx((0.1 + 0.1) / 2)
    assert found["click"]["truth_mae"] == pytest.approx(0.25 / 4)
    assert "auc_given" not in found["click"]
    masked = evaluate(tasks, outputs, labels, mask=np.array([[1, 1]] * 3 + [[1, 0]], bool), truth=truth)
    assert masked["buy"]["truth_mae"] == pytest.approx(0.1)
    assert "truth_mae" not in evaluate(tasks, outputs, labels)["buy"]
