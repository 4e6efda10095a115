"""Data sets: columnar arrays per split, a schema, and where they came from.

`load("digits")` gives a validated `Dataset`. To add a data set, write one file with a function that
returns a `Dataset`, and one line in `DATASETS`.
"""

import difflib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mtl.data.ali_ccp import ali_ccp
from mtl.data.aliexpress import aliexpress
from mtl.data.census import census_income
from mtl.data.channels import Channel, pretrain_channels, with_channels
from mtl.data.conflict import ConflictProblem, conflict_quadratics
from mtl.data.dataset import ROLES, SPLITS, Columns, Dataset, IdColumn, Schema, train_rows, validate
from mtl.data.digits import multi_digits
from mtl.data.downsample import downsample_negatives
from mtl.data.folder import folder
from mtl.data.funnel import funnel_shards, funnel_synthetic
from mtl.data.hillstrom import hillstrom
from mtl.data.kuairand import kuairand
from mtl.data.movielens import movielens
from mtl.data.multimnist import multi_mnist
from mtl.data.overrides import with_losses, with_parents
from mtl.data.reweight import reweight
from mtl.data.scenarios import scenario_synthetic
from mtl.data.sequence import sequence_synthetic
from mtl.data.synthetic import mmoe_synthetic
from mtl.data.teacher import with_teacher
from mtl.data.watch_time import watch_time
from mtl.data.windows import Stream, Windows, read_steps
from mtl.errors import InputError, unknown_name

__all__ = [
    "DATASETS",
    "ROLES",
    "SPLITS",
    "Channel",
    "Columns",
    "ConflictProblem",
    "Dataset",
    "IdColumn",
    "Schema",
    "Stream",
    "Windows",
    "ali_ccp",
    "aliexpress",
    "census_income",
    "conflict_quadratics",
    "downsample_negatives",
    "folder",
    "funnel_shards",
    "funnel_synthetic",
    "hillstrom",
    "kuairand",
    "load",
    "mmoe_synthetic",
    "movielens",
    "multi_digits",
    "multi_mnist",
    "pretrain_channels",
    "read_steps",
    "reweight",
    "scenario_synthetic",
    "sequence_synthetic",
    "train_rows",
    "validate",
    "watch_time",
    "with_channels",
    "with_losses",
    "with_parents",
    "with_teacher",
]

DATASETS: dict[str, Callable[..., Dataset]] = {
    "mmoe_synthetic": mmoe_synthetic,
    "funnel_synthetic": funnel_synthetic,
    "funnel_shards": funnel_shards,
    "scenario_synthetic": scenario_synthetic,
    "digits": multi_digits,
    "census": census_income,
    "multimnist": multi_mnist,
    "watch_time": watch_time,
    "hillstrom": hillstrom,
    "kuairand": kuairand,
    "ali_ccp": ali_ccp,
    "aliexpress": aliexpress,
    "movielens": movielens,
    "sequence_synthetic": sequence_synthetic,
    "folder": folder,
}


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
    losses: Mapping[str, Any] | None = None,
    parents: Mapping[str, Sequence[str]] | None = None,
    **kwargs: Any,
) -> Dataset:
    """Loads a data set by name, sets losses and parents of its tasks, and checks it.

    Args:
      name: a key of `DATASETS`.
      data_dir: where prepared sets live; by default `MTL_DATA_DIR`, else `~/.cache/mtl`. Sets that are
        generated do not use it.
      manual_dir: where raw files that the user has lie; by default `MTL_MANUAL_DIR`.
      losses: task's name → its loss, a name or a mapping with `name` and arguments, see `with_losses`.
      parents: task's name → names of its parents, in place of the loader's; handed to a loader that takes
        an argument of this name.
      **kwargs: the loader's own arguments.

    Returns:
      The validated data set.

    Raises:
      InputError: the name or an argument is unknown or wrong, or the data cannot be had or are damaged.
    """
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    accepted = set(inspect.signature(DATASETS[name]).parameters)
    folders = {"data_dir": data_dir, "manual_dir": manual_dir}
    own = sorted((accepted | {"losses", "parents"}) - set(folders))
    for key in kwargs:
        if key not in own:
            close = difflib.get_close_matches(key, own, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise InputError(f"data set {name!r} takes no argument {key!r}{hint}; it takes: {', '.join(own)}")
    used = {key: value for key, value in folders.items() if key in accepted}
    if parents is not None and "parents" in accepted:
        kwargs, parents = {**kwargs, "parents": parents}, None
    dataset = DATASETS[name](**used, **kwargs)
    if parents is not None:
        dataset = with_parents(dataset, parents)
    if losses is not None:
        dataset = with_losses(dataset, losses)
    return validate(dataset)
