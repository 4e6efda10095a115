"""All metrics of one task."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from mtl.errors import InputError
from mtl.metrics.accuracy import accuracy, multiclass_accuracy
from mtl.metrics.auc import auc, pr_auc
from mtl.metrics.calibration import calibration_ratio, ece
from mtl.metrics.log_loss import log_loss, multiclass_log_loss
from mtl.metrics.regression import mae, mse, r2, rmse
from mtl.tasks import Task, served

METRICS: dict[str, dict[str, Callable[..., float]]] = {
    "binary": {
        "auc": auc,
        "pr_auc": pr_auc,
        "logloss": log_loss,
        "accuracy": accuracy,
        "calibration_ratio": calibration_ratio,
        "ece": ece,
    },
    "multiclass": {"accuracy": multiclass_accuracy, "logloss": multiclass_log_loss},
    "regression": {"rmse": rmse, "mae": mae, "mse": mse, "r2": r2},
}
"""The metrics of each kind of task."""

PRIMARY = {"binary": "auc", "multiclass": "accuracy", "regression": "rmse"}
"""The one metric per kind that comparisons, Δm and tests of significance use."""

HIGHER_IS_BETTER = {
    "auc": True,
    "pr_auc": True,
    "logloss": False,
    "accuracy": True,
    "ece": False,
    "rmse": False,
    "mae": False,
    "mse": False,
    "r2": True,
    "auc_given": True,
    "truth_mae": False,
    "truth_rmse": False,
    "truth_concordance": True,
}
"""Direction of every metric that orders models; not of ratios, whose best value is 1."""


def evaluate_task(
    task: Task, outputs: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None
) -> dict[str, float]:
    """Computes every metric of a task's kind.

    Args:
      task: the task.
      outputs: `[N,K]` network outputs with K = `task.num_outputs`; those of a regression task are turned
        into what is served, in units of the label.
      labels: `[N]`.
      mask: `[N]` bool, the task's sample space; None for every row.

    Returns:
      Metric name → value, in the order of `METRICS[task.kind]`. A metric without meaning on these
      rows (AUC of a single class, no row at all) is NaN.

    Raises:
      InputError: the shapes do not fit the task or one another.
    """
    out = np.asarray(outputs)
    if out.ndim != 2 or out.shape[1] != task.num_outputs:
        raise InputError(
            f"task {task.name!r}: outputs have shape {out.shape}, expected [N,{task.num_outputs}]"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # exp(z) of a diverged run is inf, quietly
        if task.kind == "regression":
            out = served(task, out.astype(np.float64))
        elif task.kind == "binary":
            out = out[:, 0]
        return {name: metric(out, labels, mask) for name, metric in METRICS[task.kind].items()}
