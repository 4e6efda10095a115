"""Losses of conditional probabilities, on the rows where what a task requires has happened."""

from collections.abc import Sequence

import jax.numpy as jnp

from mtl.tasks.task import Task, required_tasks
from mtl.tasks.task_losses import task_losses
from mtl.types import Array


def conditional_losses(
    tasks: Sequence[Task],
    logits: Array,
    labels: Array,
    mask: Array | None = None,
    weights: Array | None = None,
) -> Array:
    """Mean cross-entropy of P(y_t | what t requires has happened), over the rows where it has.

        L_t = Σ_b δ_tb w_tb CE(c_tb, y_tb) / Σ_b δ_tb w_tb,   δ_tb = mask_tb Π_{r required by t} mask_rb y_rb

    Args:
      tasks: T tasks.
      logits: c `[T, B]`, logits of the conditional probabilities.
      labels: y `[B, T]`.
      mask: sample spaces `[B, T]` bool; None when every task covers every row.
      weights: w `[B, T]` float ≥ 0; None for ones.

    Returns:
      Losses `[T]`, float32 or wider; 0 for a task that requires none.

    Raises:
      InputError: the shapes do not match the tasks.
    """
    inside = jnp.ones(labels.shape, bool) if mask is None else mask
    happened = inside & (labels == 1)
    columns = [
        inside[:, t] & jnp.all(happened[:, list(required)], axis=1)
        if required
        else jnp.zeros_like(inside[:, t])
        for t, required in enumerate(required_tasks(tasks))
    ]
    # Tasks of other kinds require none: their labels are read on no row.
    binary = [Task(task.name) for task in tasks]
    return task_losses(binary, logits[..., None], labels, jnp.stack(columns, axis=1), weights)
