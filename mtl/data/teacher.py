"""Distillation as labels: what a teacher says, mixed into the labels of training."""

import numpy as np
from numpy.typing import ArrayLike

from mtl.data import arguments
from mtl.data.dataset import Dataset, train_in_memory
from mtl.data.downsample import task_position
from mtl.errors import InputError


def with_teacher(dataset: Dataset, task: str, probabilities: ArrayLike, weight: float = 0.5) -> Dataset:
    """Replaces the training labels y of a binary task by (1 − λ) y + λ q, q the teacher's probabilities.

    Since the cross-entropy is linear in its label, the student's loss is then (1 − λ) CE(y, z) + λ CE(q, z).
    The teacher may have seen columns that this data set lacks, such as what happens after a click. Validation
    and test keep their labels.

    Args:
      dataset: the student's data set, without the privileged columns.
      task: name of a binary task.
      probabilities: q `[N]` in [0, 1], for the rows of `train` in their order.
      weight: λ in [0, 1].

    Returns:
      A data set whose task has the loss `soft_cross_entropy`; its provenance has `distilled`.

    Raises:
      InputError: the task is unknown, not binary, or required by another, whose rows would be uncertain, or
        the probabilities do not fit.

    Reference:
      C. Xu et al., "Privileged Features Distillation at Taobao Recommendations", KDD 2020.
    """
    at = task_position(dataset, task)
    if dataset.schema.tasks[at].kind != "binary":
        raise InputError(f"task {task!r} is {dataset.schema.tasks[at].kind}, expected a binary one")
    below = [t.name for t in dataset.schema.tasks if task in t.requires]
    if below:
        raise InputError(f"task {task!r} is required by {', '.join(below)}, so its event has to be certain")
    weight = arguments.real("weight", weight, 0.0, 1.0)
    train = train_in_memory(dataset, "with_teacher")
    taught = np.asarray(probabilities, np.float64)
    if taught.shape != train["labels"].shape[:1]:
        raise InputError(f"probabilities have shape {taught.shape}, expected ({len(train['labels'])},)")
    if not ((taught >= 0) & (taught <= 1)).all():
        raise InputError("probabilities hold a number outside [0, 1]; give probabilities, not logits")
    labels = train["labels"].copy()
    labels[:, at] = (1 - weight) * labels[:, at] + weight * taught
    tasks = list(dataset.schema.tasks)
    tasks[at] = tasks[at]._replace(loss="soft_cross_entropy", loss_arguments=())
    return dataset._replace(
        schema=dataset.schema._replace(tasks=tuple(tasks)),
        splits={**dataset.splits, "train": {**train, "labels": labels}},
        provenance={**dataset.provenance, "distilled": {"task": task, "weight": weight}},
    )
