"""A data set as shards on disk: prepared once, checked as it is written, opened without reading it.

    <folder>/train.000000.arrow, val.000000.arrow, …    blocks of rows, see `mtl.data.blocks`
    <folder>/<name>.npy                                 what else a loader keeps, such as vocabularies
    <folder>/meta.json                                  schema, rows, checksums of blocks, facts

A folder appears under its name only when it is complete. The training split is read from it while a model is
trained (`mtl.data.windows`), or into memory where it fits; validation and test are read into memory.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mtl.data import arguments
from mtl.data.blocks import (
    BLOCKS_PER_FILE,
    DTYPES,
    ROWS_PER_BLOCK,
    Blocks,
    BlockWriter,
    Columns,
    ShardFile,
    damaged,
    head,
    read_blocks,
)
from mtl.data.cache import META_FILE, Facts
from mtl.data.dataset import SPLITS, Dataset, IdColumn, Schema, validate_rows
from mtl.data.preparation import LOCK, claimed, keep, kept, tell
from mtl.data.windows import permutation, windows_of
from mtl.errors import InputError
from mtl.tasks import Task

IN_MEMORY_BYTES = 256 << 20
"""A training split of no more than this is read into memory unless asked otherwise."""

MAX_EVAL_ROWS = 200_000
FORMAT = 1
MARK_FILE = "written.npz"
SAVE_SECONDS = 20.0
"""Time between two marks from which a preparation that is stopped goes on."""

Chunks = Callable[[int], Iterable[tuple[str, Columns]]]
"""From a number of chunks to those after so many, the same at every call: rows with the split that they
belong to, all in one order of columns."""


class ShardSet(NamedTuple):
    """A data set on disk.

    Attributes:
      schema: the columns' meaning.
      splits: for each split its blocks.
      facts: what its loader says of it, with rows and label rates.
    """

    schema: Schema
    splits: dict[str, Blocks]
    facts: Facts


class Contents(NamedTuple):
    """What is written.

    Attributes:
      schema: the columns' meaning.
      chunks: the rows.
      facts: JSON-serialisable; read after the chunks.
      arrays: further arrays to keep, by name.
    """

    schema: Schema
    chunks: Chunks
    facts: Facts
    arrays: Mapping[str, np.ndarray] = {}


def sharded(folder: Path, name: str, prepare: Callable[[Path], Contents]) -> ShardSet:
    """Opens a prepared set; prepares it first where it does not exist.

    A preparation that is stopped, or killed, leaves `<folder>.incomplete`, from which the next call goes on.

    Args:
      folder: `<data_dir>/<name>/<version>`; one for every choice that changes what is prepared.
      name: the set's name, for messages.
      prepare: makes the contents; gets a folder that it may use, which keeps what it holds until the set is
        complete and vanishes then.

    Returns:
      The set.

    Raises:
      InputError: the folder cannot be written, rows do not fit the schema, or what lies there is damaged.
    """
    try:
        with claimed(folder) as incomplete:
            if incomplete is not None:
                _prepare(incomplete, folder, name, prepare)
    except OSError as error:
        if not folder.exists():
            raise InputError(
                f"{folder}: cannot be written ({error.strerror or error}); set data_dir (or "
                "MTL_DATA_DIR) to a folder with room that you may write to"
            ) from error
    return open_shards(folder)


def _prepare(incomplete: Path, folder: Path, name: str, prepare: Callable[[Path], Contents]) -> None:
    try:
        if not (incomplete / META_FILE).exists():  # it is written last
            work = incomplete / "work"
            work.mkdir(exist_ok=True)
            if any(work.iterdir()) or (incomplete / MARK_FILE).exists():
                tell(f"{name}: goes on with a preparation that was stopped")
            write_shards(incomplete, name, prepare(work))
    except InputError:
        shutil.rmtree(incomplete, ignore_errors=True)
        raise
    shutil.rmtree(incomplete / "work", ignore_errors=True)
    (incomplete / MARK_FILE).unlink(missing_ok=True)
    try:
        incomplete.replace(folder)
    except OSError:
        # A process elsewhere, which our lock does not reach, may have prepared the same set meanwhile.
        if not folder.exists():
            raise
        shutil.rmtree(incomplete, ignore_errors=True)
    (folder / LOCK).unlink(missing_ok=True)


def write_shards(
    folder: Path,
    name: str,
    contents: Contents,
    rows_per_block: int = ROWS_PER_BLOCK,
    blocks_per_file: int = BLOCKS_PER_FILE,
) -> None:
    """Writes a set, or goes on with it; memory holds a chunk and a block of each split.

    Args:
      folder: where it goes: empty, or as an earlier call that was stopped has left it; to be renamed by the
        caller once this returns.
      name: the set's name, for messages.
      contents: what to write.
      rows_per_block: R.
      blocks_per_file: most blocks in a file.

    Raises:
      InputError: rows do not fit the schema, a split has no row, or a task none in its sample space.
    """
    schema = contents.schema

    def writer(split: str, widths: Sequence[tuple[str, int]]) -> BlockWriter:
        return BlockWriter(folder, split, widths, rows_per_block, blocks_per_file)

    written = _resumed(folder, name, writer)
    saved_at = time.monotonic()
    for split, columns in contents.chunks(written.chunks):
        if len(columns["labels"]):
            validate_rows(f"data set {name!r}, split {split!r}", schema, columns, split, part=True)
            widths = tuple((group, columns[group].shape[1]) for group in DTYPES if group in columns)
            if split not in written.writers:
                written.writers[split] = writer(split, widths)
            if widths != written.writers[split].widths:
                raise InputError(
                    f"data set {name!r}, split {split!r}: a chunk has the groups {', '.join(dict(widths))}, "
                    f"expected {', '.join(dict(written.writers[split].widths))} as in the chunks before it"
                )
            written.add(split, columns)
        written = written._replace(chunks=written.chunks + 1)
        if time.monotonic() - saved_at >= SAVE_SECONDS:
            _save_mark(folder, written)
            saved_at = time.monotonic()
    for split in SPLITS:
        if split not in written.writers:
            raise InputError(f"data set {name!r}: no row for split {split!r}; every split needs at least one")
        for t in np.flatnonzero(written.live[split] == 0):
            raise InputError(
                f"data set {name!r}, split {split!r}: task {schema.tasks[t].name!r} has no row in its "
                "sample space"
            )
    splits = {split: written.writers[split].close() for split in SPLITS}
    for key, array in contents.arrays.items():
        np.save(folder / f"{key}.npy", array)
    names = [t.name for t in schema.tasks]
    rates = {s: (written.total[s] / written.live[s]).tolist() for s in SPLITS}
    meta = {
        "format": FORMAT,
        "schema": {
            "id_columns": [c._asdict() for c in schema.id_columns],
            "numeric_columns": schema.numeric_columns,
            "tasks": [t._asdict() for t in schema.tasks],
        },
        "rows_per_block": rows_per_block,
        "splits": {
            split: {"widths": blocks.widths, "files": [f._asdict() for f in blocks.files]}
            for split, blocks in splits.items()
        },
        "facts": {
            **contents.facts,
            "rows": {s: written.rows[s] for s in SPLITS},
            "label_rates": {s: dict(zip(names, rates[s])) for s in SPLITS},
        },
    }
    new = folder / f"{META_FILE}.new"
    new.write_text(json.dumps(meta, indent=1, sort_keys=True) + "\n")
    new.replace(folder / META_FILE)


class _Written(NamedTuple):
    """What has been written so far.

    Attributes:
      chunks: how many chunks, empty ones among them.
      writers: of the splits that have rows.
      rows: their rows.
      live: for each of these the rows in the tasks' sample spaces `[T]`.
      total: likewise the sums of labels there.
    """

    chunks: int
    writers: dict[str, BlockWriter]
    rows: dict[str, int]
    live: dict[str, np.ndarray]
    total: dict[str, np.ndarray]

    def add(self, split: str, columns: Columns) -> None:
        """Writes and counts rows."""
        self.writers[split].add(columns)
        mask = columns.get("mask", np.ones_like(columns["labels"], bool))
        sums = np.where(mask, columns["labels"], 0).sum(axis=0, dtype=np.float64)
        self.rows[split] = self.rows.get(split, 0) + len(mask)
        self.live[split] = self.live.get(split, 0) + mask.sum(axis=0)
        self.total[split] = self.total.get(split, 0) + sums


def _save_mark(folder: Path, written: _Written) -> None:
    facts: dict[str, Any] = {"chunks": written.chunks, "splits": {}}
    arrays: dict[str, np.ndarray] = {}
    for split, writer in written.writers.items():
        files, unfinished = writer.mark()
        counted = {"live": written.live[split].tolist(), "total": written.total[split].tolist()}
        facts["splits"][split] = {"rows": written.rows[split], **counted, "written": files}
        arrays |= {f"{split}/{group}": column for group, column in unfinished.items()}
    keep(folder / MARK_FILE, facts, arrays)


def _resumed(folder: Path, name: str, writer: Callable[..., BlockWriter]) -> _Written:
    """What an earlier call had written when it last saved a mark; nothing if it cannot be used."""
    facts, arrays = kept(folder / MARK_FILE) or ({"chunks": 0, "splits": {}}, {})
    written = _Written(facts["chunks"], {}, {}, {}, {})
    try:
        for split, stored in facts["splits"].items():
            files = stored["written"]
            widths = [(group, width) for group, width in files["widths"]]
            written.writers[split] = writer(split, widths)
            written.writers[split].resume(files, {group: arrays[f"{split}/{group}"] for group, _ in widths})
            written.rows[split] = stored["rows"]
            written.live[split] = np.array(stored["live"], np.int64)
            written.total[split] = np.array(stored["total"], np.float64)
    except InputError:  # a file is damaged
        written = _Written(0, {}, {}, {}, {})
    if not written.chunks:
        for path in (p for end in ("arrow", "incomplete", "copy") for p in folder.glob(f"*.{end}")):
            path.unlink()
    else:
        tell(f"{name}: {sum(written.rows.values()):,} rows are written already")
    return written


def open_shards(folder: Path) -> ShardSet:
    """Opens a set: reads `meta.json` and looks at the files' sizes; blocks are checked when they are read.

    Raises:
      InputError: a file is missing or damaged.
    """
    try:
        meta = json.loads((folder / META_FILE).read_text())
        if meta["format"] != FORMAT:
            raise ValueError(f"format {meta['format']}, expected {FORMAT}")
        schema = Schema(
            tuple(IdColumn(**c) for c in meta["schema"]["id_columns"]),
            tuple(meta["schema"]["numeric_columns"]),
            tuple(map(_task, meta["schema"]["tasks"])),
        )
        splits = {}
        for split in SPLITS:
            stored = meta["splits"][split]
            files = tuple(ShardFile(**{**f, "checksums": tuple(f["checksums"])}) for f in stored["files"])
            widths = tuple((group, width) for group, width in stored["widths"])
            splits[split] = Blocks(folder, files, meta["rows_per_block"], widths)
        facts = meta["facts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(folder, META_FILE, error) from error
    for blocks in splits.values():
        for file in blocks.files:
            path = folder / file.name
            size = path.stat().st_size if path.exists() else None
            if size != file.size:
                found = "is missing" if size is None else f"{size} bytes"
                raise damaged(folder, file.name, f"{found}, expected {file.size} bytes")
    return ShardSet(schema, splits, facts)


class Residence(NamedTuple):
    """What of a set is held in memory.

    Attributes:
      in_memory: whether the training split is; None where it has 256 MiB or less.
      window_rows: rows that a run holds in memory while the split streams, among which it shuffles.
      max_eval_rows: at most so many rows of validation and of test, in blocks from all over the split.
    """

    in_memory: bool | None
    window_rows: int
    max_eval_rows: int


def residence(in_memory: Any, window_rows: Any, max_eval_rows: Any) -> Residence:
    """Checks a loader's arguments of these names.

    Raises:
      InputError: one is of the wrong kind or out of range.
    """
    if in_memory is not None:
        in_memory = arguments.boolean("in_memory", in_memory)
    return Residence(
        in_memory,
        arguments.integer("window_rows", window_rows, 1),
        arguments.integer("max_eval_rows", max_eval_rows, 1),
    )


def dataset_of(shards: ShardSet, name: str, provenance: Facts, how: Residence) -> Dataset:
    """Makes a data set of shards.

    Args:
      shards: the set on disk.
      name: under which results are reported.
      provenance: facts besides those of the shards.
      how: what of it is held in memory.

    Returns:
      The data set.
    """
    in_memory, window_rows, max_eval_rows = how
    train = shards.splits["train"]
    if in_memory is None:
        in_memory = train.rows * train.row_bytes <= IN_MEMORY_BYTES
    splits = {s: _sample(shards.splits[s], max_eval_rows) for s in ("val", "test")}
    return Dataset(
        name=name,
        schema=shards.schema,
        splits={"train": head(train, None if in_memory else train.rows_per_block), **splits},
        provenance={
            **provenance,
            **shards.facts,
            "rows_loaded": {
                "train": train.rows,
                **{s: len(columns["labels"]) for s, columns in splits.items()},
            },
        },
        stream=None if in_memory else windows_of(train, window_rows),
    )


def _sample(blocks: Blocks, max_rows: int) -> Columns:
    """The rows of some blocks, in the order of the file, or of all."""
    if max_rows >= blocks.rows:
        return head(blocks)
    needed = -(-max_rows // blocks.rows_per_block)
    order = permutation(blocks.num_blocks, 0)
    # The last block may be short: it takes the place of none.
    chosen = np.sort(order[order < max(blocks.num_blocks - 1, 1)][:needed])
    out = blocks.empty(len(chosen) * blocks.rows_per_block)
    rows = read_blocks(blocks, chosen, out)
    return {group: column[: min(rows, max_rows)] for group, column in out.items()}


def _task(stored: dict[str, Any]) -> Task:
    pairs = tuple((key, value) for key, value in stored["loss_arguments"])
    lists = {key: tuple(stored[key]) for key in ("parents", "requires")}
    return Task(**{**stored, **lists, "loss_arguments": pairs})
