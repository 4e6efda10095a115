"""What runs start from: the parameters that an earlier study selected."""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import numpy as np

from mtl.errors import InputError
from mtl.models import MultiTaskModel
from mtl.train import TrainSettings, read_best, warm_start
from mtl.types import PyTree

MODEL_PARTS = tuple(field.name for field in dataclasses.fields(MultiTaskModel))


class Trained(NamedTuple):
    """A finished run of an earlier study.

    Attributes:
      key: the first six columns of `results.csv`, by name.
      folder: its group's folder.
      place: its place in the group.
    """

    key: Mapping[str, Any]
    folder: Path
    place: int


def start_from(
    variables: dict[str, PyTree], keys: Sequence[Mapping[str, Any]], settings: TrainSettings
) -> dict[str, PyTree]:
    """Replaces parts of the initial variables of runs by what an earlier study ended with.

    Args:
      variables: parameters and running statistics, leaves `[S, …]`, or their shapes.
      keys: for each run `model`, `weighting`, `hparams` and `seed`.
      settings: `init_from` names the study's folder and `init_parts` the parts.

    Returns:
      The variables of a run: those parts of the run with the same model and seed, and of several of these
      of that with the same weighting and then the same `hparams`; the other parts as given.

    Raises:
      InputError: there is no such study or run, there are several, or its model is another.
    """
    runs = _finished(settings.init_from)
    sources = [_match(runs, key, settings.init_from) for key in keys]
    best = {folder: read_best(folder / "last") for folder in {found.folder for found in sources}}
    own = [jax.tree.map(lambda x, i=found.place: x[i], best[found.folder]) for found in sources]
    source = jax.tree.map(lambda *x: np.stack(x), *own)
    return take_parts(variables, source, settings.init_parts)


def take_parts(
    variables: dict[str, PyTree], source: Mapping[str, PyTree], parts: Sequence[str]
) -> dict[str, PyTree]:
    """Takes parts of the parameters, with the running statistics that they have, from another training.

    Args:
      variables: parameters and running statistics by collection.
      source: likewise.
      parts: as for `warm_start`; those of `MODEL_PARTS` may be empty, as is an encoder of numbers.

    Returns:
      The variables with those parts replaced.

    Raises:
      InputError: as `warm_start`.
    """
    out = {}
    for collection, tree in variables.items():
        names = [f"{name}/" for name in flax.traverse_util.flatten_dict(tree, sep="/")]
        known = set(parts) - set(MODEL_PARTS) if collection == "params" else set()
        here = [p for p in parts if p in known or any(name.startswith(f"{p}/") for name in names)]
        out[collection] = warm_start(tree, source.get(collection, {}), here)
    return out


def _finished(workdir: str) -> list[Trained]:
    """The runs of a study that have not failed."""
    paths = sorted(Path(workdir).glob("checkpoints/*/result.json"))
    found = [run for path in paths for run in _group(path, path.stat().st_mtime_ns)]
    if not found:
        raise InputError(
            f"train.init_from is {workdir!r}, which holds no finished run of a study; name the workdir of one"
        )
    return found


@functools.cache
def _group(path: Path, written: int) -> list[Trained]:
    """Those of one group, whose file is read again once it has changed."""
    del written
    try:
        runs = json.loads(path.read_text())["runs"]
        return [Trained(r["key"], path.parent, i) for i, r in enumerate(runs) if r["failed"] is None]
    except (ValueError, KeyError, TypeError) as e:
        raise InputError(f"train.init_from: {path} is damaged ({e}); train that study again") from None


def _match(runs: Sequence[Trained], key: Mapping[str, Any], workdir: str) -> Trained:
    told = f"model {key['model']!r} with seed {key['seed']}"
    left = [run for run in runs if run.key["model"] == key["model"] and run.key["seed"] == key["seed"]]
    if not left:
        models = ", ".join(sorted({f"{run.key['model']!r}" for run in runs}))
        raise InputError(f"train.init_from: {workdir} has no finished run of {told}; its models are {models}")
    for column in ("weighting", "hparams"):
        left = [run for run in left if run.key[column] == key[column]] or left
    if len(left) > 1:
        raise InputError(
            f"train.init_from: {workdir} has {len(left)} runs of {told}, none with weighting "
            f"{key['weighting']!r} and hparams {key['hparams']!r}; start from a study with one of them"
        )
    return left[0]
