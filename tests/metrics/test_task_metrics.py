"""Metrics of one task against hand-computed values and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from mtl import metrics
from mtl.errors import InputError
from mtl.tasks import Task

# Few distinct scores, so that ties are the rule.
TIED_ROWS = st.lists(
    st.tuples(st.integers(-3, 3).map(float), st.integers(0, 1)), min_size=2, max_size=40
).filter(lambda rows: len({y for _, y in rows}) == 2)


def test_auc_by_hand():
    # Positives 0.8, 0.4; negatives 0.4, 0.1: three pairs won, one tied.
    assert metrics.auc([0.8, 0.4, 0.4, 0.1], [1, 1, 0, 0]) == 3.5 / 4


@settings(max_examples=60, deadline=None)
@given(TIED_ROWS)
def test_ranking_metrics_equal_scikit_learn(rows):
    score, label = (np.array(column) for column in zip(*rows))
    assert metrics.auc(score, label) == pytest.approx(sk.roc_auc_score(label, score), abs=1e-12)
    expected = sk.average_precision_score(label, score)
    assert metrics.pr_auc(score, label) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(TIED_ROWS)
def test_auc_depends_on_the_order_only(rows):
    score, label = (np.array(column) for column in zip(*rows))
    value = metrics.auc(score, label)
    assert metrics.auc(np.exp(score) * 7 - 3, label) == value
    assert metrics.auc(-score, label) == pytest.approx(1 - value, abs=1e-15)
    assert metrics.auc(score, 1 - label) == pytest.approx(1 - value, abs=1e-15)


def test_auc_of_many_rows_is_exact():
    rng = np.random.default_rng(0)
    label = rng.random(100_000) < 0.05
    score = (rng.normal(size=100_000) + label).astype(np.float32).round(3)
    assert metrics.auc(score, label) == pytest.approx(sk.roc_auc_score(label, score), abs=1e-12)


def test_infinite_logits_rank_first_and_last():
    assert metrics.auc([math.inf, 0.0, -math.inf], [1, 1, 0]) == 1.0
    assert metrics.pr_auc([math.inf, 0.0, -math.inf], [1, 1, 0]) == 1.0


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_ranking(label):
    assert math.isnan(metrics.auc([0.1, 0.2], [label, label]))
    assert math.isnan(metrics.pr_auc([0.1, 0.2], [label, label]))


@pytest.mark.parametrize(
    "metric", [metrics.auc, metrics.pr_auc, metrics.accuracy, metrics.ece, metrics.log_loss]
)
def test_a_nan_score_is_not_hidden(metric):
    assert math.isnan(metric([0.1, math.nan, 0.3], [0, 1, 1]))


def test_log_loss_by_hand_and_at_the_extremes():
    assert metrics.log_loss([0.0, 0.0], [0, 1]) == pytest.approx(math.log(2), rel=1e-15)
    assert metrics.log_loss([1000.0], [0]) == 1000.0
    # Far below the resolution of 1 - p: log1p(exp(-50)).
    assert metrics.log_loss([50.0], [1]) == pytest.approx(math.exp(-50), rel=1e-12)
    assert metrics.multiclass_log_loss([[50.0, 0.0]], [0]) == pytest.approx(math.exp(-50), rel=1e-12)


def test_probabilistic_metrics_equal_scikit_learn():
    rng = np.random.default_rng(1)
    logit, label = rng.normal(size=50), rng.integers(0, 2, 50)
    p = 1 / (1 + np.exp(-logit))
    assert metrics.log_loss(logit, label) == pytest.approx(sk.log_loss(label, p), rel=1e-12)
    assert metrics.accuracy(logit, label) == sk.accuracy_score(label, p > 0.5)
    logits, classes = rng.normal(size=(50, 4)), rng.integers(0, 4, 50)
    q = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = sk.log_loss(classes, q, labels=range(4))
    assert metrics.multiclass_log_loss(logits, classes) == pytest.approx(expected, rel=1e-12)
    assert metrics.multiclass_accuracy(logits, classes) == sk.accuracy_score(classes, q.argmax(1))


def test_binary_metrics_are_the_two_class_case():
    rng = np.random.default_rng(2)
    logit, label = rng.normal(size=30), rng.integers(0, 2, 30)
    two = np.stack([np.zeros(30), logit], axis=1)
    assert metrics.multiclass_log_loss(two, label) == pytest.approx(metrics.log_loss(logit, label), rel=1e-13)
    assert metrics.multiclass_accuracy(two, label) == metrics.accuracy(logit, label)


def test_calibration_by_hand():
    # p = 1/2, 1/2, 3/4 against a rate of 2/3.
    logit = [0.0, 0.0, math.log(3)]
    assert metrics.calibration_ratio(logit, [0, 1, 1]) == pytest.approx(1.75 / 2, rel=1e-14)
    # Two bins [0, .5) and [.5, 1]: all in the upper one.
    assert metrics.ece(logit, [0, 1, 1], num_bins=2) == pytest.approx(0.25 / 3, rel=1e-14)
    # Four bins part {1/2, 1/2} (exact) from {3/4} (1/4 too low).
    assert metrics.ece(logit, [0, 1, 1], num_bins=4) == pytest.approx(0.25 / 3, rel=1e-14)
    assert metrics.ece(logit, [1, 1, 0], num_bins=4) == pytest.approx(1.75 / 3, rel=1e-14)
    assert math.isnan(metrics.calibration_ratio([0.3], [0]))
    with pytest.raises(InputError, match="num_bins is 0"):
        metrics.ece(logit, [0, 1, 1], num_bins=0)


def test_regression_equals_scikit_learn():
    rng = np.random.default_rng(3)
    y, p = rng.normal(size=20), rng.normal(size=20)
    assert metrics.mse(p, y) == pytest.approx(sk.mean_squared_error(y, p), rel=1e-13)
    assert metrics.rmse(p, y) == pytest.approx(sk.root_mean_squared_error(y, p), rel=1e-13)
    assert metrics.mae(p, y) == pytest.approx(sk.mean_absolute_error(y, p), rel=1e-13)
    assert metrics.r2(p, y) == pytest.approx(sk.r2_score(y, p), rel=1e-13)
    assert math.isnan(metrics.r2([0.0, 1.0], [2.0, 2.0]))


def test_float32_outputs_are_averaged_in_float64():
    prediction = np.full(200_000, 0.1, np.float32)
    expected = float(np.float32(0.1)) ** 2
    assert metrics.mse(prediction, np.zeros(200_000, np.float32)) == pytest.approx(expected, rel=1e-12)


TASKS = [
    Task("click", "binary"),
    Task("digit", "multiclass", num_classes=3),
    Task("minutes", "regression"),
]


def _rows(task, n, seed=4):
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(n, task.num_outputs)).astype(np.float32)
    labels = rng.normal(size=n) if task.kind == "regression" else rng.permutation(np.arange(n) % 2)
    return outputs, labels.astype(np.float32)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_a_mask_equals_dropping_the_rows(task):
    outputs, labels = _rows(task, 40)
    mask = np.arange(40) % 3 > 0
    found = metrics.evaluate_task(task, outputs, labels, mask)
    assert found == metrics.evaluate_task(task, outputs[mask], labels[mask])
    assert found != metrics.evaluate_task(task, outputs, labels)
    assert np.isfinite(list(found.values())).all()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_an_empty_sample_space_is_nan(task):
    outputs, labels = _rows(task, 6)
    values = metrics.evaluate_task(task, outputs, labels, np.zeros(6, bool))
    assert all(map(math.isnan, values.values()))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_every_metric_has_a_direction_that_is_true(task):
    """A better prediction moves each metric the way HIGHER_IS_BETTER says."""
    _, labels = _rows(task, 40)
    wrong = (labels + 1) % task.num_classes if task.kind != "regression" else labels + 1.0
    if task.kind == "regression":
        good, bad = labels[:, None] + 0.1, wrong[:, None]
    elif task.kind == "binary":
        good, bad = 4 * labels[:, None] - 2, 4 * wrong[:, None] - 2
    else:
        good, bad = (4 * np.eye(3)[y.astype(int)] for y in (labels, wrong))
    better = metrics.evaluate_task(task, good, labels)
    worse = metrics.evaluate_task(task, bad, labels)
    assert metrics.PRIMARY[task.kind] in better
    for name in better.keys() - {"calibration_ratio"}:
        assert (better[name] > worse[name]) == metrics.HIGHER_IS_BETTER[name], name


def test_wrong_shapes_are_one_clear_line():
    with pytest.raises(InputError, match=r"task 'digit': outputs have shape \(4, 1\)"):
        metrics.evaluate_task(TASKS[1], np.zeros((4, 1)), np.zeros(4))
    with pytest.raises(InputError, match=r"labels \(3,\)"):
        metrics.auc(np.zeros(4), np.zeros(3))
    with pytest.raises(InputError, match=r"mask has shape \(2,\)"):
        metrics.auc(np.zeros(4), np.zeros(4), np.ones(2, bool))
