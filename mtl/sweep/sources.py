"""The data sets that the runs of a study read: loaded when a group needs them."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mtl import data
from mtl.data import Dataset, Schema
from mtl.errors import InputError
from mtl.sweep.config import hparams
from mtl.sweep.grid import grid
from mtl.tasks import Task

Load = Callable[[Mapping[str, Any]], Dataset]
"""Loads a data set from its arguments."""


def loader(data_dir: str | None = None, manual_dir: str | None = None) -> Load:
    """Returns the function that loads a data set from its arguments.

    Args:
      data_dir: where prepared data sets live.
      manual_dir: where raw files lie.
    """
    return functools.partial(_load, data_dir=data_dir, manual_dir=manual_dir)


class Source(NamedTuple):
    """A data set that is loaded when a group needs it.

    Attributes:
      values: its swept arguments.
      arguments: all arguments of its loader.
      shapes: rows and columns per split; data sets of one shape can be stacked.
      rows: rows of the training split.
      tasks: its tasks; between the data sets of a study only losses differ.
    """

    values: Mapping[str, Any]
    arguments: Mapping[str, Any]
    shapes: str
    rows: int
    tasks: tuple[Task, ...]


def load_sources(config: Mapping[str, Any], load: Load) -> tuple[tuple[Dataset, ...], tuple[Source, ...]]:
    """Works out what data sets a study reads: one per point of its grid, or one per point and seed.

    Args:
      config: a plain config.
      load: loads a data set from its arguments.

    Returns:
      The first data set of every point, and all data sets.

    Raises:
      InputError: an argument is wrong, or the data sets differ in columns or tasks.
    """
    sample: list[Dataset] = []
    sources: list[Source] = []
    for values in grid(config, "dataset"):
        arguments = {**config["dataset"], **values}
        resample = arguments.pop("resample", False)
        name = arguments.get("name")
        if not isinstance(name, str):
            raise InputError(f"config.dataset.name is {name!r}, expected the name of a data set")
        if not isinstance(resample, bool):
            raise InputError(f"config.dataset.resample is {resample!r}, expected true or false")
        draws = [{**arguments, "seed": s} for s in range(config["seeds"])] if resample else [arguments]
        first = load(draws[0])
        if sample and not same_columns(first.schema, sample[0].schema):
            raise InputError(
                f"config.sweep.dataset: {hparams(values)} changes the columns or tasks of the data set; "
                "a study compares methods on one schema, in which only losses may vary"
            )
        shape = shapes(first)
        if len(draws) > 1 and shapes(load(draws[1])) != shape:
            raise unequal_draws()
        sample.append(first)
        rows = data.train_rows(first)
        sources += [Source(values, draw, shape, rows, first.schema.tasks) for draw in draws]
    return tuple(sample), tuple(sources)


def same_columns(a: Schema, b: Schema) -> bool:
    """Whether two schemas agree in all but the losses of their tasks."""
    usual = [
        schema._replace(tasks=tuple(t._replace(loss="", loss_arguments=()) for t in schema.tasks))
        for schema in (a, b)
    ]
    return usual[0] == usual[1]


def shapes(dataset: Dataset) -> str:
    """Rows and columns per split; data sets with the same can be stacked."""
    stream = "" if dataset.stream is None else f"{dataset.stream.rows} rows stream, "
    return stream + repr(
        {k: {n: c.shape for n, c in sorted(s.items())} for k, s in sorted(dataset.splits.items())}
    )


def unequal_draws() -> InputError:
    """The error of a generator whose data sets cannot be stacked."""
    return InputError(
        "config.dataset.resample: the draws of different seeds have different shapes; set it to False"
    )


def _load(arguments: Mapping[str, Any], data_dir: str | None, manual_dir: str | None) -> Dataset:
    rest = dict(arguments)
    return data.load(rest.pop("name"), data_dir=data_dir, manual_dir=manual_dir, **rest)
