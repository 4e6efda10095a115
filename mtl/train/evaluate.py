"""From network outputs to metrics."""

from collections.abc import Sequence

import numpy as np

from mtl.metrics import concordance, conditional_metrics, evaluate_task, log_conditional, truth_metrics
from mtl.tasks import Task, served

TaskMetrics = dict[str, dict[str, float]]
"""Task name → metric name → value."""


def evaluate(
    tasks: Sequence[Task],
    outputs: np.ndarray,
    labels: np.ndarray,
    mask: np.ndarray | None = None,
    truth: np.ndarray | None = None,
) -> TaskMetrics:
    """Computes all metrics of all tasks of one run.

    A task that requires one other is also judged by its conditional probability, the ratio of the two
    outputs' probabilities, see `mtl.metrics.conditional_metrics`. Where the expectation of a real label is
    known, what is served is compared with it, by `truth_metrics` and by `truth_concordance`, the share of
    pairs of rows that it orders as the expectation does.

    Args:
      tasks: T tasks.
      outputs: `[T, N, K]`.
      labels: `[N, T]`.
      mask: sample spaces `[N, T]` bool, or None.
      truth: true probabilities of the tasks' events given those they require, and expectations of real
        labels, `[N, T]`, NaN where unknown, or None.

    Returns:
      Metrics by task; a metric without meaning on these rows is NaN.
    """
    inside = np.ones(labels.shape, bool) if mask is None else mask
    names = [task.name for task in tasks]
    found = {}
    for t, task in enumerate(tasks):
        rows = None if mask is None else mask[:, t]
        metrics = evaluate_task(task, outputs[t][:, : task.num_outputs], labels[:, t], rows)
        known = None if truth is None or np.isnan(truth[:, t]).all() else truth[:, t]
        if len(task.requires) == 1:
            r = names.index(task.requires[0])
            live = inside[:, t] & inside[:, r]
            log_rate = log_conditional(outputs[t][live, 0], outputs[r][live, 0])
            happened = labels[live, r] == 1
            metrics |= conditional_metrics(
                log_rate, labels[live, t], happened, None if known is None else known[live]
            )
        elif known is not None and task.kind == "binary" and not task.requires:
            rate = np.exp(-np.logaddexp(0.0, -outputs[t][:, 0].astype(np.float64)))
            metrics |= truth_metrics(rate, known, inside[:, t])
        elif known is not None and task.kind == "regression":
            with np.errstate(over="ignore"):
                value = served(task, outputs[t].astype(np.float64))
            metrics |= truth_metrics(value, known, inside[:, t])
            live = inside[:, t] & np.isfinite(known)
            metrics["truth_concordance"] = concordance(value, known, live)
        found[task.name] = metrics
    return found
