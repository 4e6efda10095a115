"""Metrics: pure NumPy functions in float64, per task, across tasks and over seeds.

Per task they take network outputs (logits), labels and an optional mask of the rows that count; a
metric without meaning on those rows is NaN, never an exception.
"""

from mtl.metrics.accuracy import accuracy, multiclass_accuracy
from mtl.metrics.across_tasks import delta_m, mean_rank, mtl_gain, seesaw
from mtl.metrics.auc import auc, pr_auc
from mtl.metrics.calibration import calibration_ratio, ece
from mtl.metrics.evaluate import HIGHER_IS_BETTER, METRICS, PRIMARY, evaluate_task
from mtl.metrics.log_loss import log_loss, multiclass_log_loss
from mtl.metrics.regression import mae, mse, r2, rmse
from mtl.metrics.statistics import Interval, PairedTest, holm, mean_interval, paired_test

__all__ = [
    "HIGHER_IS_BETTER",
    "METRICS",
    "PRIMARY",
    "Interval",
    "PairedTest",
    "accuracy",
    "auc",
    "calibration_ratio",
    "delta_m",
    "ece",
    "evaluate_task",
    "holm",
    "log_loss",
    "mae",
    "mean_interval",
    "mean_rank",
    "mse",
    "mtl_gain",
    "multiclass_accuracy",
    "multiclass_log_loss",
    "paired_test",
    "pr_auc",
    "r2",
    "rmse",
    "seesaw",
]
