"""Sample re-weighting: several events inside one objective, as weights of its rows."""

from collections.abc import Mapping

import numpy as np

from mtl.data import arguments
from mtl.data.dataset import Dataset, train_in_memory
from mtl.data.downsample import task_position


def reweight(dataset: Dataset, task: str, weights: Mapping[str, float]) -> Dataset:
    """Weighs the training rows of one task by what else happened there.

        w_i = max of 1 and of weights[k] over the events k of row i

    so that with `{"cart": 3, "buy": 10}` a click that led to a purchase counts as ten. Together with other
    weights that the data set has, the product counts. The mean loss divides by the sum of weights.

    Args:
      dataset: the data set.
      task: name of the task whose loss is weighted.
      weights: name of a binary task → weight >= 1 of the rows where its label is 1; where it is outside its
        sample space it did not happen.

    Returns:
      A data set with `weights` in `train`; its provenance has `reweighted`.

    Raises:
      InputError: a task is unknown or a weight is no number >= 1.
    """
    at = task_position(dataset, task)
    train = train_in_memory(dataset, "reweight")
    own = np.ones(len(train["labels"]), np.float32)
    for name, weight in weights.items():
        k = task_position(dataset, name)
        happened = train["labels"][:, k] == 1
        if "mask" in train:
            happened &= train["mask"][:, k]
        own[happened] = np.maximum(own[happened], arguments.real(f"weight of {name!r}", weight, 1.0))
    columns = train.get("weights", np.ones_like(train["labels"])).copy()
    columns[:, at] *= own
    return dataset._replace(
        splits={**dataset.splits, "train": {**train, "weights": columns}},
        provenance={**dataset.provenance, "reweighted": {"task": task, "weights": dict(weights)}},
    )
