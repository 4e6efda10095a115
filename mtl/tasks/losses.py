"""Losses from outputs, on each task's sample space, for all tasks at once.

Reference for the sample space (union loss): H. Tang et al., "Progressive Layered Extraction (PLE)",
RecSys 2020, eq. (9):  L_t = Σ_i δ_t^i ℓ_t^i / Σ_i δ_t^i.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.tasks.task import Task
from mtl.types import Array


def binary_loss(outputs: Array, labels: Array) -> Array:
    """Sigmoid cross-entropy from logits `[…, 1]` and labels `[…]` in {0, 1}; returns `[…]` in nats."""
    return optax.sigmoid_binary_cross_entropy(outputs[..., 0], labels)


def multiclass_loss(outputs: Array, labels: Array) -> Array:
    """Softmax cross-entropy from logits `[…, K]` and class labels `[…]`; returns `[…]` in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs, labels.astype(jnp.int32))


def squared_loss(outputs: Array, labels: Array) -> Array:
    """Squared error (y − ŷ)² from outputs `[…, 1]` and labels `[…]`; returns `[…]`, without a ½."""
    return jnp.square(outputs[..., 0] - labels)


LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "binary": binary_loss,
    "multiclass": multiclass_loss,
    "regression": squared_loss,
}


def task_losses(tasks: Sequence[Task], outputs: Array, labels: Array, mask: Array | None = None) -> Array:
    """Mean loss of every task over the rows of its sample space.

        L_t = Σ_b δ_tb ℓ_t(ŷ_tb, y_tb) / Σ_b δ_tb,   0 where the sum of δ is 0

    Tasks of one kind are evaluated together. A row outside the sample space may hold any label, NaN
    included: it reaches neither the loss nor the gradient. An empty sample space gives loss 0 with
    gradient 0, which weightings take as "no rows", never NaN.

    Args:
      tasks: T tasks.
      outputs: network outputs `[T, B, K]`; task t uses the first K_t.
      labels: `[B, T]` float; class numbers for multiclass tasks.
      mask: δ `[B, T]` bool; None when every task covers every row.

    Returns:
      Losses `[T]` float32.

    Raises:
      InputError: the shapes do not match the tasks.
    """
    num_tasks = len(tasks)
    if outputs.shape[0] != num_tasks or labels.shape[-1] != num_tasks:
        raise InputError(
            f"{num_tasks} tasks, but outputs have shape {outputs.shape} and labels {labels.shape}; "
            "expected [T, B, K] and [B, T]"
        )
    outputs = outputs.astype(jnp.float32)
    groups: dict[tuple[str, int], list[int]] = {}
    for t, task in enumerate(tasks):
        groups.setdefault((task.kind, task.num_outputs), []).append(t)
    losses = jnp.zeros(num_tasks, jnp.float32)
    for (kind, size), members in groups.items():
        index = jnp.asarray(members)
        all_tasks = len(members) == num_tasks
        z = (outputs if all_tasks else outputs[index])[..., :size]
        y = (labels if all_tasks else labels[:, index]).T
        if mask is None:
            mean = jnp.mean(LOSSES[kind](z, y), axis=1)
        else:
            inside = (mask if all_tasks else mask[:, index]).T
            loss = LOSSES[kind](z, jnp.where(inside, y, 0.0))
            rows = jnp.sum(inside, axis=1)
            mean = jnp.sum(jnp.where(inside, loss, 0.0), axis=1) / jnp.maximum(rows, 1)
        losses = mean if all_tasks else losses.at[index].set(mean)
    return losses
