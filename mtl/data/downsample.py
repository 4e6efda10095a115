"""Negative down-sampling: training on all positive rows and a fraction of the negative ones.

Reference: X. He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014.
"""

import numpy as np

from mtl.data import arguments
from mtl.data.dataset import Dataset, train_in_memory
from mtl.errors import InputError, unknown_name


def downsample_negatives(dataset: Dataset, task: str, keep: float, seed: int = 0) -> Dataset:
    """Drops negative rows of a task from the training split, each with probability 1 − α.

    A model trained on the rest shows odds that are 1/α times the true ones; `mtl.fusion.undo_downsampling`
    takes that back. Rows outside the task's sample space are kept. Other tasks lose the same rows. Validation
    and test stay as they are.

    Args:
      dataset: the data set.
      task: name of a binary task.
      keep: α in (0, 1], the probability with which a negative row is kept.
      seed: of the draw.

    Returns:
      A data set with fewer training rows, in their order; its provenance has `downsampled`.

    Raises:
      InputError: the task is unknown or not binary, `keep` is out of range, or no negative row is left.
    """
    at = task_position(dataset, task)
    if dataset.schema.tasks[at].kind != "binary":
        raise InputError(f"task {task!r} is {dataset.schema.tasks[at].kind}, expected a binary one")
    if arguments.real("keep", keep, 0.0, 1.0) == 0.0:
        raise InputError("keep is 0, expected a number in (0, 1]")
    seed = arguments.integer("seed", seed, 0)
    train = train_in_memory(dataset, "downsample_negatives")
    negative = train["labels"][:, at] == 0
    if "mask" in train:
        negative &= train["mask"][:, at]
    kept = ~negative | (np.random.default_rng(seed).random(len(negative)) < keep)
    if negative.any() and not (kept & negative).any():
        raise InputError(
            f"keep is {keep:g}: none of the {negative.sum()} negative rows of {task!r} is left; raise it"
        )
    done = {
        "task": task,
        "keep": keep,
        "seed": seed,
        "rows_before": len(kept),
        "rows": int(kept.sum()),
    }
    return dataset._replace(
        splits={**dataset.splits, "train": {name: column[kept] for name, column in train.items()}},
        provenance={**dataset.provenance, "downsampled": done},
    )


def task_position(dataset: Dataset, task: str) -> int:
    """The position of a task; an `InputError` names those there are."""
    names = [t.name for t in dataset.schema.tasks]
    if task not in names:
        raise unknown_name("task", task, names)
    return names.index(task)
