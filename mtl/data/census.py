"""Census-Income (KDD) as a multi-task data set, by the protocol of the MMoE paper."""

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mtl.data import arguments, encode
from mtl.data.cache import Facts
from mtl.data.census_source import census_table
from mtl.data.dataset import Columns, Dataset, IdColumn, Schema
from mtl.errors import InputError, unknown_name
from mtl.tasks import Task, task_graph
from third_party import census_income_kdd as source
from third_party.census_income_kdd.columns import (
    DEGREES,
    INCOME_ABOVE_50K,
    NEVER_MARRIED,
    SOME_COLLEGE,
)

TASKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "income": ("income_50k", (INCOME_ABOVE_50K,)),
    "never_married": ("marital_stat", (NEVER_MARRIED,)),
    "college": ("education", DEGREES),
    "some_college": ("education", (SOME_COLLEGE, *DEGREES)),
}
"""Label of each task: 1 where the column has one of the values."""

EXCLUDED = ("education", "marital_stat", "income_50k", "instance_weight")
"""Columns that are never inputs: what labels are made from, and the survey's weight."""

HEAVY_TAILED = ("wage_per_hour", "capital_gains", "capital_losses", "stock_dividends")
NUMERIC = tuple(name for name in source.NUMERIC if name not in EXCLUDED)
CATEGORICAL = tuple(name for name in source.CATEGORICAL if name not in EXCLUDED)
ENCODINGS = ("standard", "buckets", "both")


class _Group(NamedTuple):
    """Encoded columns of one kind: their schema entries, and one array per column."""

    schema: tuple[Any, ...]
    arrays: list[np.ndarray]


def census_income(
    tasks: Sequence[str] = ("income", "never_married"),
    parents: Mapping[str, Sequence[str]] | None = None,
    numeric: str = "both",
    num_buckets: int = 10,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Loads Census-Income (KDD) with two or more binary tasks.

    The official training part is `train`; the official test part is split 1:1 at random into `val`
    and `test`. Every categorical column becomes ids 1, 2, … in the alphabetical order of the values
    in `train`; id 0 is a value that `train` does not have. A missing value (`?`) is a category.
    Quantities are standardised with the mean and standard deviation of `train`, the heavy-tailed ones
    after log(1 + x).

    The household columns `tax_filer_stat`, `det_hh_fam_stat` and `det_hh_summ` tell much of the marital
    status outright; they are kept, as in the common implementations of the papers.

    Args:
      tasks: names among `income` (above 50,000 dollars), `never_married`, `college` (an associate
        degree or more, the MMoE paper's reading) and `some_college` (or college without a degree).
      parents: for a task the tasks that it depends on; by default each depends on the one before it.
      numeric: `standard` (numeric inputs), `buckets` (an id per quantity; ids start at 0, since there is no
        unseen value), or `both`.
      num_buckets: a value that more than 1 in num_buckets rows of `train` have gets a bucket of its own;
        the other rows are cut into num_buckets at their quantiles, of which equal ones are merged.
      seed: of the split into `val` and `test`. Keep it fixed across runs: it is part of the data, not
        of a run's randomness.
      data_dir: where prepared sets live; by default `MTL_DATA_DIR`, else `~/.cache/mtl`.
      manual_dir: where raw files lie; by default `MTL_MANUAL_DIR`.

    Returns:
      The data set; its provenance holds files, checksums, label rates and label correlations.

    Raises:
      InputError: an argument is wrong, or the raw files cannot be had or are damaged.

    Reference: Ma, Zhao, Yi, Chen, Hong, Chi, "Modeling Task Relationships in Multi-task Learning with
      Multi-gate Mixture-of-Experts", KDD 2018, Section 6.3 (education and marital status are removed
      from the inputs in every task group).
    """
    graph = _tasks(tasks, parents)
    arguments.choice("numeric", numeric, ENCODINGS)
    num_buckets = arguments.integer("num_buckets", num_buckets, 2)
    seed = arguments.integer("seed", seed, 0)
    table, facts = census_table(data_dir, manual_dir)
    num_train = facts["parts"]["train"]["rows"]
    if table.num_rows - num_train < 2:
        raise InputError("census: the test part needs two rows or more, to be split into val and test")

    labels = _labels(table, graph)
    ids = _categories(table, num_train)
    buckets = _buckets(table, num_train, num_buckets) if numeric != "standard" else _Group((), [])
    numbers = _standardised(table, num_train) if numeric != "buckets" else _Group((), [])
    columns = {
        "ids": np.stack([*ids.arrays, *buckets.arrays], axis=1),
        "numeric": _stack(numbers.arrays, table.num_rows),
        "labels": labels,
    }
    rows = _split(num_train, table.num_rows, seed)
    splits = {split: {k: v[r] for k, v in columns.items()} for split, r in rows.items()}
    given = {"tasks": list(tasks), "numeric": numeric, "num_buckets": num_buckets, "seed": seed}
    return Dataset(
        name="census",
        schema=Schema((*ids.schema, *buckets.schema), numbers.schema, graph),
        splits=splits,
        provenance=_provenance(given, facts, graph, labels, splits),
    )


def _tasks(names: Sequence[str], parents: Mapping[str, Sequence[str]] | None) -> tuple[Task, ...]:
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise InputError(f"tasks is {names!r}, expected a tuple of names: {', '.join(TASKS)}")
    for name in names:
        if not isinstance(name, str) or name not in TASKS:
            raise unknown_name("census task", name, TASKS)
    if parents is None:
        parents = {child: (parent,) for parent, child in itertools.pairwise(names)}
    edges = arguments.parents(parents, names)
    graph = tuple(Task(name, parents=edges.get(name, ())) for name in names)
    task_graph(graph)
    return graph


def _codes(table: pa.Table, name: str) -> tuple[np.ndarray, list[str]]:
    column = table[name].combine_chunks()
    return column.indices.to_numpy(), column.dictionary.to_pylist()


def _quantity(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy().astype(np.float64)


def _labels(table: pa.Table, tasks: tuple[Task, ...]) -> np.ndarray:
    labels = np.empty((table.num_rows, len(tasks)), np.float32)
    for t, task in enumerate(tasks):
        column, positive = TASKS[task.name]
        codes, values = _codes(table, column)
        labels[:, t] = np.isin(values, positive)[codes]
    return labels


def _categories(table: pa.Table, num_train: int) -> _Group:
    schema, arrays = [], []
    for name in CATEGORICAL:
        codes, values = _codes(table, name)
        seen = sorted(values[code] for code in np.unique(codes[:num_train]))
        new_id = {value: i for i, value in enumerate(seen, start=1)}
        arrays.append(np.array([new_id.get(value, 0) for value in values], np.int32)[codes])
        schema.append(IdColumn(name, len(seen) + 1))
    return _Group(tuple(schema), arrays)


def _buckets(table: pa.Table, num_train: int, num_buckets: int) -> _Group:
    schema, arrays = [], []
    for name in NUMERIC:
        values = _quantity(table, name)
        train = values[:num_train]
        edges = encode.bucket_edges(train, num_buckets)
        arrays.append(np.searchsorted(edges, values, side="left").astype(np.int32))
        schema.append(IdColumn(f"{name}_bucket", len(edges) + 1))
    return _Group(tuple(schema), arrays)


def _standardised(table: pa.Table, num_train: int) -> _Group:
    arrays = []
    for name in NUMERIC:
        values = _quantity(table, name)
        if name in HEAVY_TAILED:
            values = np.log1p(values)
        arrays.append(encode.standardised(values, np.arange(num_train)))
    return _Group(NUMERIC, arrays)


def _stack(arrays: list[np.ndarray], rows: int) -> np.ndarray:
    return np.stack(arrays, axis=1) if arrays else np.zeros((rows, 0), np.float32)


def _split(num_train: int, num_rows: int, seed: int) -> dict[str, Any]:
    shuffled = num_train + np.random.default_rng(seed).permutation(num_rows - num_train)
    half = len(shuffled) // 2
    # Sorted, so that the rows keep the file's order inside each split.
    return {
        "train": slice(0, num_train),
        "val": np.sort(shuffled[:half]),
        "test": np.sort(shuffled[half:]),
    }


def _provenance(
    given: Facts,
    facts: Facts,
    tasks: tuple[Task, ...],
    labels: np.ndarray,
    splits: dict[str, Columns],
) -> Facts:
    num_train = facts["parts"]["train"]["rows"]
    return {
        "source": source.HOMEPAGE,
        "licence": source.LICENCE,
        "citation": source.CITATION,
        "arguments": {**given, "parents": {t.name: list(t.parents) for t in tasks}},
        "files": facts["parts"],
        "excluded_columns": list(EXCLUDED),
        "rows": {split: len(columns["labels"]) for split, columns in splits.items()},
        "label_rates": {
            **{split: encode.label_rates(columns["labels"], tasks) for split, columns in splits.items()},
            "official_test": encode.label_rates(labels[num_train:], tasks),
        },
        "label_correlation": {
            f"{tasks[i].name}/{tasks[j].name}": _pearson(labels[:, i], labels[:, j])
            for i in range(len(tasks))
            for j in range(i + 1, len(tasks))
        },
    }


def _pearson(a: np.ndarray, b: np.ndarray) -> float | None:
    """Pearson correlation over all rows, or None where a label is constant."""
    a, b = (x.astype(np.float64) - x.mean(dtype=np.float64) for x in (a, b))
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0 else None
