"""From network outputs to metrics, and from metrics to the one number that selects a step."""

import math
from collections.abc import Sequence

import numpy as np

from mtl.metrics import HIGHER_IS_BETTER, PRIMARY, evaluate_task
from mtl.tasks import Task

TaskMetrics = dict[str, dict[str, float]]
"""Task name → metric name → value."""


def evaluate(
    tasks: Sequence[Task], outputs: np.ndarray, labels: np.ndarray, mask: np.ndarray | None = None
) -> TaskMetrics:
    """Computes all metrics of all tasks of one run.

    Args:
      tasks: T tasks.
      outputs: `[T, N, K]`.
      labels: `[N, T]`.
      mask: sample spaces `[N, T]` bool, or None.

    Returns:
      Metrics by task; a metric without meaning on these rows is NaN.
    """
    return {
        task.name: evaluate_task(
            task,
            outputs[t][:, : task.num_outputs],
            labels[:, t],
            None if mask is None else mask[:, t],
        )
        for t, task in enumerate(tasks)
    }


def selection_value(tasks: Sequence[Task], metrics: TaskMetrics, select: str) -> float:
    """The number that is maximised on the validation split.

    Args:
      tasks: T tasks.
      metrics: their validation metrics.
      select: a task's name, or `mean` for the mean over tasks of the primary metric, with errors
        counted negatively.

    Returns:
      The value; NaN if a metric that enters is NaN.
    """
    values = []
    for task in tasks:
        if select in ("mean", task.name):
            name = PRIMARY[task.kind]
            sign = 1.0 if HIGHER_IS_BETTER[name] else -1.0
            values.append(sign * metrics[task.name][name])
    return math.fsum(values) / len(values)
