"""From network outputs to metrics."""

from collections.abc import Sequence

import numpy as np

from mtl.metrics import evaluate_task
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
