"""Hillstrom's e-mail test: visit, then conversion, then spend."""

import itertools
import os
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mtl.data import arguments, encode
from mtl.data.cache import manual_folder
from mtl.data.dataset import SPLITS, Dataset, IdColumn, Schema
from mtl.tasks import Task
from third_party import hillstrom as source
from third_party.raw_files import checked, not_found

TASKS = ("visit", "conversion", "spend")
ROLES = {
    "recency": "user",
    "history_segment": "user",
    "mens": "user",
    "womens": "user",
    "zip_code": "user",
    "newbie": "user",
    "channel": "user",
    "segment": "context",
}
VAL_SHARE = TEST_SHARE = 0.2


def hillstrom(
    tasks: Sequence[str] = TASKS,
    log_spend: bool = False,
    seed: int = 0,
    manual_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Loads Hillstrom's e-mail test: a customer visits, then buys, then has spent.

    A full real set with the shape of click, conversion and value. Each task's parent is the one before it;
    a conversion requires a visit, and spend is above 0 exactly where there is a conversion. The signal is
    weak: expect an AUC of about 0.65.

    Inputs are what was known before the e-mail, and which e-mail was sent (`segment`, assigned at random). Of
    the quantities, months since the last purchase are ids and a number, and dollars spent in the past year a
    number after log(1 + x), beside their bracket. Rows are divided at random, 60 % to `train` and 20 % each
    to `val` and `test`.

    Args:
      tasks: names among `visit`, `conversion` and `spend` (dollars, a regression).
      log_spend: whether the label of spend is log(1 + dollars); of 64,000 customers 578 spent anything, up to
        499 dollars.
      seed: of the division. Keep it fixed across runs: it is part of the data.
      manual_dir: where the raw file lies; by default `MTL_MANUAL_DIR`.

    Returns:
      The data set; its provenance holds file, checksum, label rates and the unit of spend.

    Raises:
      InputError: an argument is wrong, or the raw file cannot be found or is damaged.

    Reference: Hillstrom, "The MineThatData E-Mail Analytics and Data Mining Challenge", 2008.
    """
    names = arguments.names("tasks", tasks, TASKS)
    log_spend = arguments.boolean("log_spend", log_spend)
    seed = arguments.integer("seed", seed, 0)
    manual = manual_folder(manual_dir)
    path = source.find(manual) if manual else None
    if path is None:
        raise not_found("hillstrom", [f"{source.FILES['customers'].name}.gz"], source.FOLDER, source.HOMEPAGE)
    table = source.read(path)

    graph = _tasks(names)
    rows = encode.split_at_random(table.num_rows, VAL_SHARE, TEST_SHARE, seed)
    labels = np.stack([table[name].to_numpy() for name in names], axis=1).astype(np.float32)
    if log_spend and "spend" in names:
        spend = names.index("spend")
        labels[:, spend] = np.log1p(labels[:, spend])
    id_columns, ids = _ids(table, rows["train"])
    numbers = (table["recency"].to_numpy(), np.log1p(table["history"].to_numpy()))
    columns = {
        "ids": ids,
        "numeric": np.stack([encode.standardised(x, rows["train"]) for x in numbers], axis=1),
        "labels": labels,
    }
    splits = {split: {key: value[rows[split]] for key, value in columns.items()} for split in SPLITS}
    return Dataset(
        name="hillstrom",
        schema=Schema(id_columns, ("recency", "history"), graph),
        splits=splits,
        provenance={
            "source": source.HOMEPAGE,
            "licence": source.LICENCE,
            "citation": source.CITATION,
            "arguments": {"tasks": list(names), "log_spend": log_spend, "seed": seed},
            "files": {"customers": {**checked(path, source.FILES["customers"]), "rows": table.num_rows}},
            "spend": "log(1 + dollars)" if log_spend else "dollars",
            **encode.rows_and_rates(labels, rows, graph),
        },
    )


def _tasks(names: Sequence[str]) -> tuple[Task, ...]:
    """Each task's parent is the nearest one before it that was asked for."""
    asked = [name for name in TASKS if name in names]
    parents = {child: (parent,) for parent, child in itertools.pairwise(asked)}
    tasks = {
        name: Task(name, "regression" if name == "spend" else "binary", parents=parents.get(name, ()))
        for name in names
    }
    if {"visit", "conversion"} <= set(asked):
        tasks["conversion"] = tasks["conversion"]._replace(requires=("visit",))
    return tuple(tasks.values())


def _ids(table: pa.Table, train: np.ndarray) -> tuple[tuple[IdColumn, ...], np.ndarray]:
    schema, arrays = [], []
    for name, role in ROLES.items():
        values = table[name].to_numpy(zero_copy_only=False)
        known = encode.vocabulary(values[train])
        arrays.append(encode.to_ids(values, known))
        schema.append(IdColumn(name, len(known) + 1, role))
    return tuple(schema), np.stack(arrays, axis=1)
