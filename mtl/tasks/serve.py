"""What the user of a model gets: a probability, a class, or a value in units of the label."""

from typing import Any

from mtl.tasks.losses import task_loss
from mtl.tasks.task import Task


def served(task: Task, outputs: Any) -> Any:
    """Turns a task's network outputs into what is served.

    Binary tasks serve σ(z), multiclass ones the most likely class, regressions the output, exp(z) for
    `watch_time` and `weighted_logistic`, exp(z) − 1 for `squared_log`, σ(z) for `soft_cross_entropy`.
    Losses that move probabilities (`weighted`, `focal`, `label_smoothing`) serve the moved ones.

    Args:
      task: the task.
      outputs: `[..., K]` with K = `task.num_outputs`, a NumPy or a JAX array.

    Returns:
      `[...]`, of the same library and precision.

    Raises:
      InputError: the task's kind has no such loss.
    """
    return task_loss(task).serve(outputs)
