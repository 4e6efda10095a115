"""`Dataset`: columnar arrays per split, their schema, and where they came from."""

from typing import Any, NamedTuple

import numpy as np

from mtl.data.blocks import Columns
from mtl.data.windows import Windows
from mtl.errors import InputError
from mtl.tasks import Task, task_graph, task_loss

SPLITS = ("train", "val", "test")
ROLES = ("", "user", "item", "context", "refer", "domain")
"""Roles of id columns; `refer` is the item from which a user came to a feed."""


class IdColumn(NamedTuple):
    """A categorical column, stored as integers in [0, vocab_size).

    Attributes:
      name: column name.
      vocab_size: number of distinct ids, the unseen bucket included.
      role: what the column describes, one of `ROLES`; "" where it does not matter. Models with a user and an
        item side read it. A data set has at most one `domain` column; its id 0 is a domain that training
        has not seen.
      sequence: name of the sequence, such as a user's last L clicks, of which this column is one position;
        "" for none. The positions of a sequence are neighbouring columns, the most recent one first, and
        id 0 is padding.
      table: name of an earlier id column whose embeddings this column reads, such as the item of a sequence
        of items; "" for a table of its own.
    """

    name: str
    vocab_size: int
    role: str = ""
    sequence: str = ""
    table: str = ""


class Schema(NamedTuple):
    """What the columns of a data set are.

    Attributes:
      id_columns: C categorical columns.
      numeric_columns: names of F numeric columns, already standardised.
      tasks: T tasks.
    """

    id_columns: tuple[IdColumn, ...]
    numeric_columns: tuple[str, ...]
    tasks: tuple[Task, ...]


class Dataset(NamedTuple):
    """A data set in memory, or one whose training split is read from disk while it is trained on.

    The columns of a split are `ids [N,C] int32`, `numeric [N,F] float32`, `labels [N,T] float32`, optional
    `mask [N,T] bool` and `weights [N,T] float32`, how much a row counts in a task's training loss. Splits
    other than `train` may have `truth [N,T] float32`, the true probability of a task's event given those that
    it requires, or the expectation of a real label, NaN where it is unknown.

    Attributes:
      name: name under which results are reported.
      schema: the columns' meaning.
      splits: `train`, `val` and `test`, each a dict of columns.
      provenance: JSON-serialisable facts: source, licence, citation, checksums, generator arguments,
        label rates.
      stream: where the training rows are if they are not in memory; `splits["train"]` then holds the first
        of them only, as a sample of what the columns look like.
    """

    name: str
    schema: Schema
    splits: dict[str, Columns]
    provenance: dict[str, Any]
    stream: Windows | None = None


def train_rows(dataset: Dataset) -> int:
    """Rows of the training split, whether in memory or on disk."""
    return len(dataset.splits["train"]["labels"]) if dataset.stream is None else dataset.stream.rows


def train_in_memory(dataset: Dataset, what: str) -> Columns:
    """The training rows for something that needs all of them.

    Raises:
      InputError: they are on disk; the message names `what`.
    """
    if dataset.stream is not None:
        raise InputError(
            f"{what} changes all training rows, but those of {dataset.name!r} stream from disk; load it with "
            "in_memory=True if they fit"
        )
    return dataset.splits["train"]


def validate(dataset: Dataset) -> Dataset:
    """Checks a data set against its schema, so that nothing downstream has to.

    Args:
      dataset: the data set.

    Returns:
      The same data set.

    Raises:
      InputError: a split is missing or empty, shapes or dtypes disagree with the schema, a number is not
        finite, an id is outside its vocabulary, a label is outside its task's range, an event happened
        without one that it requires, or a task has no row in a split; the message names split, column and
        row.
    """
    schema = dataset.schema
    task_graph(schema.tasks)
    for task in schema.tasks:
        task_loss(task)
    _validate_columns(f"data set {dataset.name!r}", schema.id_columns)
    for split in SPLITS:
        if split not in dataset.splits:
            raise InputError(f"data set {dataset.name!r}: split {split!r} is missing")
        part = split == "train" and dataset.stream is not None
        where = f"data set {dataset.name!r}, split {split!r}"
        validate_rows(where, schema, dataset.splits[split], split, part=part)
    if "truth" in dataset.splits["train"]:
        raise InputError(f"data set {dataset.name!r}: split 'train' has a column 'truth'; only others may")
    return dataset


def validate_rows(
    where: str,
    schema: Schema,
    columns: Columns,
    split: str,
    *,
    part: bool,
    numbers: np.ndarray | None = None,
) -> None:
    """Checks rows of a split against the schema.

    Args:
      where: how a message begins.
      schema: the columns' meaning.
      columns: the rows.
      split: which split they belong to.
      part: whether there are others besides; a task may then have no row in its sample space here.
      numbers: what messages call the rows `[N]`; None counts them from 0.

    Raises:
      InputError: as `validate`.
    """
    widths: dict[str, tuple[int, Any]] = {
        "ids": (len(schema.id_columns), np.int32),
        "numeric": (len(schema.numeric_columns), np.float32),
        "labels": (len(schema.tasks), np.float32),
    }
    if "mask" in columns:
        widths["mask"] = (len(schema.tasks), np.bool_)
    for optional in ("truth", "weights"):
        if optional in columns:
            widths[optional] = (len(schema.tasks), np.float32)
    rows = len(columns["labels"]) if "labels" in columns else 0
    if rows == 0:
        raise InputError(f"{where}: is empty; every split needs at least one row")
    called = np.arange(rows) if numbers is None else numbers
    for key, (width, dtype) in widths.items():
        array = columns.get(key)
        if array is None:
            raise InputError(f"{where}: column group {key!r} is missing")
        if array.shape != (rows, width):
            raise InputError(f"{where}: {key} has shape {array.shape}, expected {(rows, width)}")
        if array.dtype != dtype:
            raise InputError(f"{where}: {key} is {array.dtype}, expected {np.dtype(dtype)}")
    _first_bad(where, schema.numeric_columns, ~np.isfinite(columns["numeric"]), columns["numeric"])
    if "weights" in columns:
        bad = ~(np.isfinite(columns["weights"]) & (columns["weights"] >= 0))
        if bad.any():
            row, t = (int(i) for i in np.argwhere(bad)[0])
            raise InputError(
                f"{where}: row {called[row]}, weight of {schema.tasks[t].name!r} is "
                f"{columns['weights'][row, t]!s}, expected a number >= 0"
            )
    # One pass over all columns: a matrix that is mapped from disk is not read once per column.
    low, high = columns["ids"].min(axis=0), columns["ids"].max(axis=0)
    for c, column in enumerate(schema.id_columns):
        if low[c] < 0 or high[c] >= column.vocab_size:
            ids = columns["ids"][:, c]
            row = int(np.argmax((ids < 0) | (ids >= column.vocab_size)))
            raise InputError(
                f"{where}: row {called[row]}, column {column.name!r}: id {ids[row]} is outside "
                f"[0, {column.vocab_size})"
            )
    for t, task in enumerate(schema.tasks):
        label = columns["labels"][:, t]
        live = columns["mask"][:, t] if "mask" in columns else np.ones(rows, bool)
        if not (part or live.any()):
            raise InputError(f"{where}: task {task.name!r} has no row in its sample space")
        bad, expected = _bad_labels(task, label, split)
        bad &= live
        if bad.any():
            row = int(np.argmax(bad))
            raise InputError(
                f"{where}: row {called[row]}, label {task.name!r} is {label[row]!s}, expected {expected}"
            )

    names = [task.name for task in schema.tasks]
    for task in schema.tasks:
        for required in task.requires:
            both = [names.index(task.name), names.index(required)]
            own, other = columns["labels"][:, both].T
            bad = (own == 1) & (other == 0)
            if "mask" in columns:
                bad &= columns["mask"][:, both].all(axis=1)
            if bad.any():
                row = int(np.argmax(bad))
                raise InputError(
                    f"{where}: row {called[row]}: {task.name!r} is 1 but {required!r}, which it requires, "
                    "is 0"
                )


def _bad_labels(task: Task, label: np.ndarray, split: str) -> tuple[np.ndarray, str]:
    """Which labels are outside the range of their task's kind and loss, and what that range is."""
    limits = task_loss(task).labels
    if task.kind == "regression" or (task.kind == "binary" and limits is not None and split == "train"):
        low, high = limits or (-np.inf, np.inf)
        if limits is None:
            expected = "a finite number"
        else:
            expected = f"a number in [{low:g}, {high:g}]" if high < np.inf else f"a number >= {low:g}"
        return ~(np.isfinite(label) & (label >= low) & (label <= high)), expected
    k = 2 if task.kind == "binary" else task.num_classes
    return ~np.isin(label, np.arange(k)), f"one of 0 … {k - 1}"


def _validate_columns(where: str, columns: tuple[IdColumn, ...]) -> None:
    """Checks what id columns say of themselves: roles, tables of others, neighbours in a sequence."""
    earlier: dict[str, int] = {}
    previous = ""
    sequences: set[str] = set()
    for column in columns:
        if column.role not in ROLES:
            known = ", ".join(filter(None, ROLES))
            raise InputError(f"{where}: column {column.name!r} has role {column.role!r}, expected {known}")
        if column.table and earlier.get(column.table) != column.vocab_size:
            raise InputError(
                f"{where}: column {column.name!r} reads the table of {column.table!r}, expected an earlier "
                f"id column with {column.vocab_size} ids"
            )
        if column.sequence and column.sequence != previous and column.sequence in sequences:
            raise InputError(f"{where}: the columns of sequence {column.sequence!r} are not neighbours")
        sequences.add(column.sequence)
        previous, earlier[column.name] = column.sequence, column.vocab_size
    domains = [column.name for column in columns if column.role == "domain"]
    if len(domains) > 1:
        raise InputError(f"{where}: columns {', '.join(domains)} all have role 'domain', expected one")


def _first_bad(where: str, names: tuple[str, ...], bad: np.ndarray, values: np.ndarray) -> None:
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{where}: row {row}, column {names[column]!r} is {values[row, column]!s}, "
            "expected a finite number; impute or drop it before training"
        )
