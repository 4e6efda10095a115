"""What `train.select` means: the number by which steps and settings are chosen on validation."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mtl.errors import unknown_name
from mtl.metrics.evaluate import HIGHER_IS_BETTER, METRICS, PRIMARY
from mtl.tasks import Task


class Part(NamedTuple):
    """A metric of one task that enters the mean.

    Attributes:
      task: the task's name.
      metric: the metric's name.
      sign: 1, or −1 for an error.
    """

    task: str
    metric: str
    sign: float


def selection(tasks: Sequence[Task], select: str) -> tuple[Part, ...]:
    """Finds the metrics whose mean is maximised on validation.

    Args:
      tasks: T tasks.
      select: a task's name for its primary metric; `mean` for the primary metrics of all tasks; or a metric
        for the tasks that have it, such as `auc` where one more task is measured in dollars, or `r2` where
        labels differ in scale, so that no task's unit decides; or a metric of one task, as in
        `purchase.logloss`.

    Returns:
      One entry per task that counts.

    Raises:
      InputError: `select` is none of these.
    """
    named = {task.name: PRIMARY[task.kind] for task in tasks if select in ("mean", task.name)}
    if not named:
        each = {(t.name, m) for t in tasks for m in METRICS[t.kind] if m in HIGHER_IS_BETTER}
        known = sorted({metric for _, metric in each})
        named = {task: m for task, m in each if select == f"{task}.{m}"}
        if not named and select not in known:
            one = sorted(f"{task}.{m}" for task, m in each) if "." in select else ()
            raise unknown_name("train.select", select, ("mean", *(t.name for t in tasks), *known, *one))
        named = named or {t.name: select for t in tasks if select in METRICS[t.kind]}
    return tuple(
        Part(task, metric, 1.0 if HIGHER_IS_BETTER[metric] else -1.0) for task, metric in named.items()
    )


def selection_value(tasks: Sequence[Task], metrics: Mapping[str, Mapping[str, float]], select: str) -> float:
    """The number that is maximised on the validation split.

    Args:
      tasks: T tasks.
      metrics: their validation metrics, task name → metric name → value.
      select: see `selection`.

    Returns:
      The mean of the metrics that count, errors negative; NaN if one of them is.
    """
    parts = selection(tasks, select)
    return math.fsum(part.sign * metrics[part.task][part.metric] for part in parts) / len(parts)


def selection_text(select: str) -> str:
    """Says by what steps and settings are chosen, in words that follow `the best`."""
    if select == "mean":
        return "the mean over tasks of the primary metric"
    if select in HIGHER_IS_BETTER:
        return f"the mean over tasks of {select}"
    task, _, metric = select.rpartition(".")
    if task and metric in HIGHER_IS_BETTER:
        return f"{metric} of {task}"
    return f"the primary metric of {select}"
