"""A folder of the user's own: CSV, Parquet or Arrow files that a schema file turns into a data set."""

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtl.data import encode
from mtl.data import folder_files as tables
from mtl.data.cache import data_folder
from mtl.data.dataset import SPLITS, Columns, Dataset, IdColumn, Schema, validate_rows
from mtl.data.folder_files import Batch
from mtl.data.folder_schema import FolderSchema, IdField, NumberField, Splitting, read_schema
from mtl.data.hashing import MISSING, bucket_ids, vocabulary_ids
from mtl.data.preparation import Arrays, once
from mtl.data.shards import FORMAT, MAX_EVAL_ROWS, Contents, dataset_of, residence, sharded
from mtl.data.windows import WINDOW_ROWS
from mtl.errors import InputError
from mtl.progress import Progress

MEGABYTE = 1e6
VOCABULARY = "vocabulary."

SplitOf = Callable[[Batch], np.ndarray]
"""From rows of a file to the position of each one's split in `SPLITS`, uint8 `[N]`."""


def folder(
    path: str = "",
    schema: str = "",
    in_memory: bool | None = None,
    window_rows: int = WINDOW_ROWS,
    max_eval_rows: int = MAX_EVAL_ROWS,
    data_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Loads a folder of CSV, Parquet or Arrow files that a schema file describes, see docs/data.md.

    The first call prepares shards below `data_dir`: one pass over the files counts values and sums quantities
    of `train`, a second one writes ids, numbers and labels. Memory holds a batch of 65,536 rows and, for each
    vocabulary, 16 bytes a distinct value; a split by time also 8 bytes a row. Later calls open the shards, or
    go on with a preparation that was stopped, as long as the schema and the files' names, sizes and times are
    the same.

    Values become ids by a hash of 64 bits, so that vocabularies of text need no more room than those of
    integers. An id is 0 where a value is missing, has fewer rows of `train` than asked for, or is not in it.

    Args:
      path: the folder.
      schema: the schema file; by default `schema.toml` in the folder.
      in_memory: whether the training split is read into memory; None where it has 256 MiB or less.
      window_rows: rows that a run holds in memory while the split streams, see `mtl.data.windows`.
      max_eval_rows: at most so many rows of validation and of test, in blocks from all over the split.
      data_dir: where prepared sets live; by default `MTL_DATA_DIR`, else `~/.cache/mtl`.

    Returns:
      The data set; its training split streams unless it is in memory.

    Raises:
      InputError: an argument, the schema or a file is wrong; the message names file, column and row where
        there is one.
    """
    how = residence(in_memory, window_rows, max_eval_rows)
    for name, value in (("path", path), ("schema", schema)):
        if not isinstance(value, str | os.PathLike):
            raise InputError(f"{name} is {value!r}, expected a path")
    if not path:
        raise InputError("data set 'folder' needs path=, the folder with the tables; see docs/data.md")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise InputError(f"path {root} is not a folder; expected the one with the tables")
    found, content = read_schema(Path(schema).expanduser() if schema else root / "schema.toml")
    files = tables.table_files(root, _patterns(found))
    stats = {file: file.stat() for file in files}
    made_of = {
        "format": FORMAT,
        "schema": content,
        "files": [
            [p.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns] for p, stat in stats.items()
        ],
    }
    version = hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()[:16]
    shards = sharded(
        data_folder(data_dir) / "folder" / f"{found.name}-{version}",
        found.name,
        lambda work: _contents(root, files, found, work),
    )
    provenance = {"source": str(root), "schema": json.loads(json.dumps(content, default=str))}
    return dataset_of(shards, found.name, provenance, how)


class _Learned(NamedTuple):
    """What the pass over `train` finds, and how many batches of rows every file has."""

    vocabularies: dict[str, np.ndarray]
    mean: np.ndarray
    deviation: np.ndarray
    batches: np.ndarray


def _contents(root: Path, files: Sequence[Path], schema: FolderSchema, work: Path) -> Contents:
    for file in files:
        tables.check_columns(file, schema.columns, schema.delimiter)
    split_of = _split_of(root, files, schema, work)
    found = dict(once(work / "learned.npz", lambda: _learn(files, schema, split_of)))
    sums = (found.pop(key) for key in ("mean", "deviation", "batches"))
    learned = _Learned({key.removeprefix(VOCABULARY): known for key, known in found.items()}, *sums)
    sizes = {
        field.name: 1 + (field.buckets or len(learned.vocabularies.get(field.name, ())))
        for field in schema.ids
    }
    made = Schema(
        id_columns=tuple(c for field in schema.ids for c in _id_columns(field, sizes)),
        numeric_columns=tuple(field.name for field in schema.numeric),
        tasks=tuple(field.task for field in schema.labels),
    )
    facts = {
        "files": {file.relative_to(root).as_posix(): file.stat().st_size for file in files},
        "numeric": {
            field.name: {"mean": float(learned.mean[i]), "deviation": float(learned.deviation[i])}
            for i, field in enumerate(schema.numeric)
        },
    }
    arrays = {f"{VOCABULARY}{name.replace('/', '_')}": known for name, known in learned.vocabularies.items()}
    return Contents(made, partial(_encoded, files, schema, made, split_of, learned), facts, arrays)


def _id_columns(field: IdField, sizes: dict[str, int]) -> list[IdColumn]:
    size = sizes[field.table or field.name]
    if not field.length:
        return [IdColumn(field.name, size, field.role, "", field.table)]
    names = [f"{field.name}_{i + 1}" for i in range(field.length)]
    owners = [field.table, *[field.table or names[0]] * (field.length - 1)]
    return [IdColumn(n, size, field.role, field.name, owner) for n, owner in zip(names, owners, strict=True)]


# ---- splits -------------------------------------------------------------------------------------------


def _patterns(schema: FolderSchema) -> tuple[str, ...]:
    split = schema.split
    by_file = (*split.train, *split.val, *split.test) if split.by == "files" else ()
    return schema.files or by_file


def _split_of(root: Path, files: Sequence[Path], schema: FolderSchema, work: Path) -> SplitOf:
    split = schema.split
    if split.by == "files":
        return _by_file(root, files, split)
    if split.by == "column":
        return _by_column(split)
    if split.by == "time":
        return _by_time(files, schema, work)
    return _by_fraction(files, split)


def _by_file(root: Path, files: Sequence[Path], split: Splitting) -> SplitOf:
    part_of = {}
    for file in files:
        parts = [
            i
            for i, patterns in enumerate((split.train, split.val, split.test))
            if any(tables.matches(file, root, pattern) for pattern in patterns)
        ]
        if len(parts) != 1:
            found = " and ".join(SPLITS[i] for i in parts) or "none"
            raise InputError(f"{file}: belongs to {found} of [split] train, val and test, expected one")
        part_of[file] = parts[0]
    for i, name in enumerate(SPLITS):
        if i not in part_of.values():
            raise InputError(f"[split] {name}: no file below {root} has such a name")
    return lambda batch: np.full(batch.columns.num_rows, part_of[batch.file], np.uint8)


def _by_column(split: Splitting) -> SplitOf:
    places = {v: i for i, values in enumerate((split.train, split.val, split.test)) for v in values}

    def split_of(batch: Batch) -> np.ndarray:
        found = tables.texts(batch, split.column)
        for row, value in enumerate(found):
            if value not in places:
                raise batch.refuse(split.column, row, repr(value), f"one of {', '.join(places)}")
        return np.array([places[str(value)] for value in found], np.uint8)

    return split_of


def _by_fraction(files: Sequence[Path], split: Splitting) -> SplitOf:
    number = {file: i for i, file in enumerate(files)}
    start = encode.mixed(np.array([split.seed + 1]))

    def split_of(batch: Batch) -> np.ndarray:
        if split.column:
            keys = tables.hashed(batch, split.column)
        else:
            keys = np.arange(batch.columns.num_rows, dtype=np.uint64) + np.uint64(
                batch.first + (number[batch.file] << 40)
            )
        share = (encode.mixed(encode.mixed(keys) + start) >> np.uint64(11)) * 2.0**-53
        return np.where(share < split.val, 1, np.where(share < split.val + split.test, 2, 0)).astype(np.uint8)

    return split_of


def _by_time(files: Sequence[Path], schema: FolderSchema, work: Path) -> SplitOf:
    """Cuts at quantiles of the times of all rows; rows of one time stay together."""
    split = schema.split

    def find() -> Arrays:
        batches = _batches(files, (split.column,), schema, "times")
        times = np.concatenate([tables.moments(batch, split.column) for batch in batches])
        shares = (1 - split.val - split.test, 1 - split.test)
        places = [min(round(share * len(times)), len(times) - 1) for share in shares]
        return {"cuts": np.partition(times, places)[places]}

    cuts = once(work / "cuts.npz", find)["cuts"]

    def split_of(batch: Batch) -> np.ndarray:
        return np.searchsorted(cuts, tables.moments(batch, split.column), "right").astype(np.uint8)

    return split_of


# ---- the two passes -----------------------------------------------------------------------------------


def _batches(
    files: Sequence[Path],
    columns: Sequence[str],
    schema: FolderSchema,
    label: str,
    first: int = 0,
    skipped: int = 0,
) -> Iterator[Batch]:
    """All rows of the files from the `first` on, less `skipped` batches of that, with progress."""
    sizes = [file.stat().st_size / MEGABYTE for file in files]
    before = sum(sizes[:first])
    with Progress(round(sum(sizes)), "MB", round(before), quiet=True) as progress:
        progress.label(f"{schema.name}: {label}")
        for file, size in zip(files[first:], sizes[first:], strict=True):
            batches = tables.read_batches(file, columns, schema.delimiter)
            for batch in itertools.islice(batches, skipped, None):
                yield batch
                progress.advance(round(before + batch.share * size) - progress.done)
            before, skipped = before + size, 0


def _learn(files: Sequence[Path], schema: FolderSchema, split_of: SplitOf) -> Arrays:
    counted = {f.name: encode.Counts(np.uint64) for f in schema.ids if not (f.buckets or f.table)}
    width = len(schema.numeric)
    known, total, squares = (np.zeros(width) for _ in range(3))
    batches = dict.fromkeys(files, 0)
    shift: np.ndarray | None = None  # near the mean, so that squares keep their digits
    for batch in _batches(files, schema.columns, schema, "vocabularies"):
        batches[batch.file] += 1
        train = split_of(batch) == 0
        if not train.any():
            continue
        for field in schema.ids:
            if field.name in counted:
                values = _hashes(batch, field)[train].reshape(-1)
                counted[field.name].add(values[values != MISSING])
        numbers = _numbers(batch, schema.numeric)[train]
        there = ~np.isnan(numbers)
        if shift is None:
            shift = np.where(there, numbers, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        moved = np.where(there, numbers - shift, 0)
        known, total = known + there.sum(axis=0), total + moved.sum(axis=0)
        squares = squares + (moved**2).sum(axis=0)
    known = np.maximum(known, 1)
    mean = (0 if shift is None else shift) + total / known
    deviation = np.sqrt(np.maximum(squares / known - (total / known) ** 2, 0))
    # What rounding leaves of a constant column must not be blown up.
    deviation = np.where(deviation > 1e-6 * np.abs(mean), deviation, 1.0)
    plain = np.array([field.transform == "none" for field in schema.numeric], bool)
    least = {field.name: field.min_count for field in schema.ids}
    return {
        "mean": np.where(plain, 0.0, mean),
        "deviation": np.where(plain, 1.0, deviation),
        "batches": np.array(list(batches.values())),
        **{f"{VOCABULARY}{name}": counts.at_least(least[name]) for name, counts in counted.items()},
    }


def _encoded(
    files: Sequence[Path],
    schema: FolderSchema,
    made: Schema,
    split_of: SplitOf,
    learned: _Learned,
    done: int,
) -> Iterator[tuple[str, Columns]]:
    """The rows of all splits, encoded and checked, so that messages name rows as the files count them.

    Every batch makes a chunk of each split, be it empty, so that `done` chunks tell where to go on.
    """
    batches, chunks = divmod(done, len(SPLITS))
    ends = np.cumsum(learned.batches)
    first = int(np.searchsorted(ends, batches, "right"))
    skipped = batches - int(ends[first - 1] if first else 0)
    owners = {field.name: field for field in schema.ids}
    for batch in _batches(files, schema.columns, schema, "writing", first, skipped):
        rows = batch.columns.num_rows
        ids = [np.zeros((rows, 0), np.int32)]
        for field in schema.ids:
            owner = owners[field.table or field.name]
            values = _hashes(batch, field)
            if owner.buckets:
                found = bucket_ids(values, owner.buckets)
            else:
                found = vocabulary_ids(values, learned.vocabularies[owner.name])
            ids.append(found.reshape(rows, -1))
        numbers = (_numbers(batch, schema.numeric) - learned.mean) / learned.deviation
        columns = {
            "ids": np.concatenate(ids, axis=1),
            "numeric": np.nan_to_num(numbers).astype(np.float32),
            **_labels(batch, schema),
        }
        part = split_of(batch)
        for i, split in list(enumerate(SPLITS))[chunks:]:
            chosen = np.flatnonzero(part == i)
            mine = {group: column[chosen] for group, column in columns.items()}
            if len(chosen):
                numbered = batch.first + chosen + 1
                validate_rows(str(batch.file), made, mine, split, part=True, numbers=numbered)
            yield split, mine
        chunks = 0


def _hashes(batch: Batch, field: IdField) -> np.ndarray:
    if field.length:
        return tables.hashed_lists(batch, field.column, field.length, field.separator)
    return tables.hashed(batch, field.column)


def _numbers(batch: Batch, fields: Sequence[NumberField]) -> np.ndarray:
    """The quantities `[N, F]` before they are standardised; NaN where one is missing."""
    found = np.empty((batch.columns.num_rows, len(fields)))
    for i, field in enumerate(fields):
        values = tables.numbers(batch, field.column)
        log = field.transform == "log1p"
        bad = np.isinf(values) | (values <= -1) if log else np.isinf(values)
        if bad.any():
            row = int(np.argmax(bad))
            expected = "a finite number above -1, whose log1p is taken" if log else "a finite number"
            raise batch.refuse(field.column, row, values[row], expected)
        found[:, i] = np.log1p(values) if log else values
    return found


def _labels(batch: Batch, schema: FolderSchema) -> Columns:
    """Labels, and sample spaces if a task has one."""
    fields = schema.labels
    shape = batch.columns.num_rows, len(fields)
    labels, mask = np.empty(shape, np.float32), np.ones(shape, bool)
    for t, field in enumerate(fields):
        values = tables.numbers(batch, field.column)
        if field.mask:
            given = tables.numbers(batch, field.mask)
            bad = ~np.isin(given, (0, 1))
            if bad.any():
                row = int(np.argmax(bad))
                raise batch.refuse(field.mask, row, given[row], "0 or 1, or true or false")
            mask[:, t] = given == 1
        missing = np.isnan(values) & mask[:, t]
        if missing.any():
            known = f"where {field.mask!r} is 1" if field.mask else "or a 'mask' column in [[tasks]]"
            raise batch.refuse(field.column, int(np.argmax(missing)), "missing", f"a label {known}")
        labels[:, t] = np.where(mask[:, t], values, 0)
    return {"labels": labels, **({"mask": mask} if any(field.mask for field in fields) else {})}
