"""Losses, one file each, and which of them a task of each kind can have.

A task names its loss and the loss's arguments; `LOSSES` says what they mean. Losses of pairs, triples and
lists (`bpr`, `triplet`, `sampled_softmax`) are plain functions for loss functions of your own.
"""

import math

from mtl.errors import InputError, unknown_name
from mtl.tasks.losses.absolute import absolute_loss
from mtl.tasks.losses.cross_entropy import binary_loss, multiclass_loss
from mtl.tasks.losses.focal import focal_loss, multiclass_focal_loss
from mtl.tasks.losses.huber import huber_loss
from mtl.tasks.losses.label_smoothing import multiclass_smoothed_loss, smoothed_loss
from mtl.tasks.losses.links import exponential, exponential_minus_one, most_likely, probability, value
from mtl.tasks.losses.loss import Argument, Loss
from mtl.tasks.losses.squared import squared_log_loss, squared_loss
from mtl.tasks.losses.watch_time import watch_time_loss
from mtl.tasks.losses.weighted import weighted_loss
from mtl.tasks.losses.weighted_logistic import weighted_logistic_loss
from mtl.tasks.task import Task

SHARE = (0.0, 1.0)
NOT_NEGATIVE = (0.0, math.inf)

LOSSES: dict[str, dict[str, Loss]] = {
    "binary": {
        "cross_entropy": Loss(binary_loss, probability),
        "soft_cross_entropy": Loss(binary_loss, probability, labels=SHARE),
        "weighted": Loss(weighted_loss, probability, {"positive": Argument(1.0), "negative": Argument(1.0)}),
        "focal": Loss(
            focal_loss, probability, {"alpha": Argument(0.25, 0.0, 1.0), "gamma": Argument(2.0, 0.0)}
        ),
        "label_smoothing": Loss(smoothed_loss, probability, {"smoothing": Argument(0.1, 0.0, 1.0)}),
    },
    "multiclass": {
        "cross_entropy": Loss(multiclass_loss, most_likely),
        "focal": Loss(multiclass_focal_loss, most_likely, {"gamma": Argument(2.0, 0.0)}),
        "label_smoothing": Loss(
            multiclass_smoothed_loss, most_likely, {"smoothing": Argument(0.1, 0.0, 1.0)}
        ),
    },
    "regression": {
        "squared": Loss(squared_loss, value),
        "absolute": Loss(absolute_loss, value),
        "huber": Loss(huber_loss, value, {"delta": Argument(1.0, 1e-6)}),
        "squared_log": Loss(squared_log_loss, exponential_minus_one, labels=NOT_NEGATIVE),
        "watch_time": Loss(watch_time_loss, exponential, labels=NOT_NEGATIVE),
        "weighted_logistic": Loss(
            weighted_logistic_loss, exponential, {"clicked": Argument(0.0, 0.0, 1.0)}, NOT_NEGATIVE
        ),
        "soft_cross_entropy": Loss(binary_loss, probability, labels=SHARE),
    },
}
"""Kind of task → name → loss. The first of a kind is its usual one."""


def task_loss(task: Task) -> Loss:
    """Finds a task's loss and checks its arguments.

    Args:
      task: the task; "" as its loss stands for the usual one of its kind.

    Returns:
      The loss, with the task's values as the arguments' defaults.

    Raises:
      InputError: the task's kind has no such loss, or an argument is unknown or out of range.
    """
    known = LOSSES[task.kind]
    name = task.loss or next(iter(known))
    if name not in known:
        raise unknown_name(f"loss of {task.kind} task {task.name!r}:", name, known)
    loss, given = known[name], dict(task.loss_arguments)
    for key, number in given.items():
        where = f"task {task.name!r}, loss {name!r}"
        if key not in loss.arguments:
            raise InputError(
                f"{where}: unknown argument {key!r}; it takes {', '.join(loss.arguments) or 'none'}"
            )
        low, high = loss.arguments[key].low, loss.arguments[key].high
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise InputError(f"{where}: {key} is {number!r}, expected a finite number")
        if not low <= number <= high:
            expected = f"in [{low:g}, {high:g}]" if high < math.inf else f">= {low:g}"
            raise InputError(f"{where}: {key} is {number!r}, expected a number {expected}")
    arguments = {k: a._replace(default=float(given.get(k, a.default))) for k, a in loss.arguments.items()}
    return loss._replace(arguments=arguments)
