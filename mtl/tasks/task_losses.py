"""Losses from outputs, on each task's sample space, for all tasks at once.

Reference for the sample space (union loss): H. Tang et al., "Progressive Layered Extraction (PLE)",
RecSys 2020, eq. (9):  L_t = Σ_i δ_t^i ℓ_t^i / Σ_i δ_t^i.
"""

from collections.abc import Sequence

import jax.numpy as jnp

from mtl.errors import InputError
from mtl.tasks.losses import task_loss
from mtl.tasks.task import Task
from mtl.types import Array, widened


def task_losses(
    tasks: Sequence[Task],
    outputs: Array,
    labels: Array,
    mask: Array | None = None,
    weights: Array | None = None,
) -> Array:
    """Mean loss of every task over the rows of its sample space.

        L_t = Σ_b δ_tb w_tb ℓ_t(ŷ_tb, y_tb) / Σ_b δ_tb w_tb,   0 where that sum is 0

    Tasks of one kind and loss are evaluated together. A row outside the sample space may hold any label, NaN
    included: it reaches neither the loss nor the gradient. An empty sample space gives loss 0 with
    gradient 0, which weightings take as "no rows", never NaN.

    Args:
      tasks: T tasks.
      outputs: network outputs `[T, B, K]`; task t uses the first K_t.
      labels: `[B, T]` float; class numbers for multiclass tasks.
      mask: δ `[B, T]` bool; None when every task covers every row.
      weights: w `[B, T]` float ≥ 0; None for ones.

    Returns:
      Losses `[T]`, float32 or wider.

    Raises:
      InputError: the shapes do not match the tasks, or a loss or its arguments are unknown.
    """
    num_tasks = len(tasks)
    if outputs.shape[0] != num_tasks or labels.shape[-1] != num_tasks:
        raise InputError(
            f"{num_tasks} tasks, but outputs have shape {outputs.shape} and labels {labels.shape}; "
            "expected [T, B, K] and [B, T]"
        )
    outputs = widened(outputs)
    groups: dict[Task, list[int]] = {}
    for t, task in enumerate(tasks):
        # What of a task decides about its loss.
        alike = Task("", task.kind, task.num_outputs, loss=task.loss, loss_arguments=task.loss_arguments)
        groups.setdefault(alike, []).append(t)
    losses = jnp.zeros(num_tasks, outputs.dtype)
    for alike, members in groups.items():
        index = jnp.asarray(members)
        all_tasks = len(members) == num_tasks
        loss = task_loss(tasks[members[0]])
        arguments = {name: argument.default for name, argument in loss.arguments.items()}

        def of_members(columns, index=index, all_tasks=all_tasks):
            return (columns if all_tasks else columns[:, index]).T

        z = (outputs if all_tasks else outputs[index])[..., : alike.num_outputs]
        y = of_members(labels)
        if mask is None and weights is None:
            mean = jnp.mean(loss.function(z, y, **arguments), axis=1)
        else:
            inside = jnp.ones_like(y, bool) if mask is None else of_members(mask)
            share = inside.astype(outputs.dtype)
            if weights is not None:
                share = jnp.where(inside, of_members(weights), 0.0)
            row = loss.function(z, jnp.where(inside, y, 0.0), **arguments)
            total = jnp.sum(share, axis=1)
            mean = jnp.sum(jnp.where(inside, share * row, 0.0), axis=1) / jnp.where(total > 0, total, 1.0)
        losses = mean if all_tasks else losses.at[index].set(mean)
    return losses
