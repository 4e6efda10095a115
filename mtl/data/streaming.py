"""Sets larger than memory: from raw text to arrays on disk, piece by piece.

    <data_dir>/<name>/<version>.partial/    while the set is prepared, and after a stop
      plan.json                             raw files and columns that the chunks were made for
      chunks/000012.<sha256>.arrow          a piece of a raw file, parsed: one Arrow record batch
    <data_dir>/<name>/<version>/            once it is complete
      train.ids.npy, train.numeric.npy, …   [N, C] int32, [N, F] float32, [N, T] float32
      meta.json                             sizes of vocabularies, facts, checksums of the arrays' blocks

Raw files are cut into pieces of whole lines. Every piece is parsed into a chunk, which gets its name, with
its checksum in it, when it is complete: after a stop the chunks that are there are verified and kept. Then
one pass over the chunks counts features and sums quantities of `train`, and a second one writes ids,
standardised numbers and labels. Memory holds one chunk and the vocabularies.

The result is plain `.npy` files, not Arrow: a model reads rows of a matrix, which an Arrow file holds in one
run per record batch only, whereas a `.npy` file of any size is mapped as one array.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mtl.data import encode
from mtl.data.cache import META_FILE, Facts
from mtl.data.dataset import SPLITS, Columns
from mtl.errors import InputError
from mtl.progress import Progress, track
from third_party.raw_files import Piece

BYTES_PER_PIECE = 16 << 20
BYTES_PER_BLOCK = 16 << 20
MEGABYTE = 1e6
GROUPS = ("ids", "numeric", "labels")

Parse = Callable[[Piece], pa.RecordBatch]


class Plan(NamedTuple):
    """What a set is made from.

    Attributes:
      name: the set's name, for messages.
      files: all raw files; none where they are gone since the set was prepared.
      pieces: those that hold rows, cut.
      parser: given a folder to work in, returns the function that parses a piece into a record batch of
        `split [N]` uint8 (position in `SPLITS`), `ids [N, C]` int32 (raw features, negative where absent),
        `values [N, F]` float32 and `labels [N, T]` float32. Rows that are left out count in its metadata
        `dropped`.
      min_counts: for each of C id columns how often a feature must occur in `train` to get an id.
      labels: names of the T labels.
      facts: what else the prepared set shall say of its files.
    """

    name: str
    files: Sequence[Path]
    pieces: Sequence[Piece]
    parser: Callable[[Path], Parse]
    min_counts: tuple[int, ...]
    labels: tuple[str, ...]
    facts: Facts


class Prepared(NamedTuple):
    """A prepared set.

    Attributes:
      splits: for each split `ids`, `numeric` and `labels`, mapped from disk.
      vocab_sizes: for each id column the number of ids; id 0 is a feature that is absent, rare or unseen.
      facts: files, rows and label rates of the whole set.
    """

    splits: dict[str, Columns]
    vocab_sizes: tuple[int, ...]
    facts: Facts


def streamed(folder: Path, plan: Plan, max_rows: int | None = None) -> Prepared:
    """Maps a prepared set; prepares it first where it does not exist.

    Preparation is resumed where an earlier one stopped, if the raw files still have their names, sizes and
    times.

    Args:
      folder: `<data_dir>/<name>/<version>`; one for every choice that changes what is prepared.
      plan: what to make it from.
      max_rows: at most so many rows of each split, the first ones; None for all. Rows are read from disk when
        they are used.

    Returns:
      The set.

    Raises:
      InputError: the folder cannot be written, a raw file is damaged or has changed since, or what lies in
        the folder is damaged.
    """
    if not folder.exists():
        try:
            _prepare(folder, plan)
        except OSError as error:
            # Another process may have prepared the same set meanwhile: its copy is as good as ours.
            if not folder.exists():
                raise InputError(
                    f"{folder}: cannot be written ({error.strerror or error}); set data_dir (or "
                    "MTL_DATA_DIR) to a folder with room that you may write to, and run again to continue"
                ) from error
    return _open(folder, plan, max_rows)


def chunks(folder: Path, pieces: Sequence[Piece], parse: Parse, label: str) -> list[Path]:
    """Parses every piece into an Arrow file; keeps those that an earlier call finished.

    Args:
      folder: where the files lie; made if it does not exist.
      pieces: what to parse.
      parse: from a piece to a record batch; the same piece must always give the same.
      label: what is being done, for the progress shown.

    Returns:
      The file of each piece.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = {int(path.name.split(".")[0]): path for path in sorted(folder.glob("*.*.arrow"))}
    paths = []
    with Progress(round(sum(p.stop - p.start for p in pieces) / MEGABYTE), "MB", quiet=True) as progress:
        progress.label(label)
        passed = 0
        for number, piece in enumerate(pieces):
            path = there.get(number)
            if path is None or _sha256(path.read_bytes()) != path.name.split(".")[1]:
                path = _write_chunk(folder, number, parse(piece))
            paths.append(path)
            before, passed = passed, passed + piece.stop - piece.start
            progress.advance(round(passed / MEGABYTE) - round(before / MEGABYTE))
    return paths


def read_chunk(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Maps a chunk: its columns, those of lists as matrices, and its metadata."""
    batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    columns = {name: as_array(batch.column(name)) for name in batch.schema.names}
    return columns, {k.decode(): v.decode() for k, v in (batch.schema.metadata or {}).items()}


def as_array(column: pa.Array) -> np.ndarray:
    """Returns a column as `[N]`, or `[N, k]` where it holds lists of k numbers, without a copy."""
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy().reshape(len(column), column.type.list_size)
    return column.to_numpy()


def _write_chunk(folder: Path, number: int, batch: pa.RecordBatch) -> Path:
    content = pa.BufferOutputStream()
    with pa.ipc.new_file(content, batch.schema) as writer:
        writer.write_batch(batch)
    buffer = content.getvalue()
    path = folder / f"{number:06d}.{_sha256(buffer)}.arrow"
    incomplete = folder / f"{number:06d}.incomplete-{os.getpid()}"
    incomplete.write_bytes(buffer)
    incomplete.replace(path)
    return path


def _prepare(folder: Path, plan: Plan) -> None:
    work = folder.with_name(f"{folder.name}.partial")
    sizes = raw_sizes(plan.files)
    made_for = {
        "files": sizes,
        "times": [p.stat().st_mtime_ns for p in plan.files],
        "pieces": len(plan.pieces),
    }
    if work.exists() and _read_json(work / "plan.json") != made_for:
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    incomplete = work / f"plan.incomplete-{os.getpid()}"
    incomplete.write_text(json.dumps(made_for))
    incomplete.replace(work / "plan.json")
    parsed = chunks(work / "chunks", plan.pieces, plan.parser(work), f"{plan.name}: parsing")
    learned = _learn(plan, parsed)
    arrays = work / f"arrays-{os.getpid()}"
    shutil.rmtree(arrays, ignore_errors=True)
    arrays.mkdir()
    rates = _encode(arrays, plan, parsed, learned)
    rows = dict(zip(SPLITS, learned.rows, strict=True))
    for split, count in rows.items():
        if count == 0:
            raise InputError(f"{plan.name}: no row for split {split!r}; the raw files are too small")
    files = sorted(path.name for path in arrays.glob("*.npy"))
    meta = {
        "vocab_sizes": [len(known) + 1 for known in learned.vocabularies],
        "facts": {
            **plan.facts,
            "files": sizes,
            "rows": rows,
            "dropped": learned.dropped,
            "label_rates": rates,
        },
        "blocks": {name: list(_blocks(arrays / name)) for name in track(files, len(files), "checksums")},
    }
    (arrays / META_FILE).write_text(json.dumps(meta, indent=1, sort_keys=True) + "\n")
    arrays.replace(folder)
    shutil.rmtree(work, ignore_errors=True)


class _Learned(NamedTuple):
    """What the first pass over the chunks finds: per id column, per number, per split."""

    vocabularies: list[np.ndarray]
    mean: np.ndarray
    deviation: np.ndarray
    rows: list[int]
    dropped: int


def _learn(plan: Plan, parsed: Sequence[Path]) -> _Learned:
    counts = [encode.Counts(np.int32) for _ in plan.min_counts]
    rows = np.zeros(len(SPLITS), np.int64)
    total: Any = 0.0
    squares: Any = 0.0
    dropped = 0
    for path in track(parsed, len(parsed), f"{plan.name}: vocabularies, chunks"):
        columns, metadata = read_chunk(path)
        dropped += int(metadata.get("dropped", 0))
        rows += np.bincount(columns["split"], minlength=len(SPLITS))
        train = columns["split"] == SPLITS.index("train")
        for counted, column in zip(counts, columns["ids"][train].T, strict=True):
            counted.add(column)
        values = columns["values"][train].astype(np.float64)
        total, squares = total + values.sum(axis=0), squares + (values**2).sum(axis=0)
    known = max(int(rows[0]), 1)
    mean = total / known
    deviation = np.sqrt(np.maximum(squares / known - mean**2, 0))
    # What rounding leaves of a constant column must not be blown up.
    deviation = np.where(deviation > 1e-6 * np.abs(mean), deviation, 1.0)
    seen = [counted.at_least(least) for counted, least in zip(counts, plan.min_counts, strict=True)]
    found = [values[values >= 0] for values in seen]  # those below are absent
    return _Learned(found, mean, deviation, rows.tolist(), dropped)


def _encode(folder: Path, plan: Plan, parsed: Sequence[Path], learned: _Learned) -> Facts:
    """Writes the arrays of all splits and returns their label rates."""
    widths = {"ids": len(plan.min_counts), "numeric": len(learned.mean), "labels": len(plan.labels)}
    positives = np.zeros((len(SPLITS), len(plan.labels)))
    with contextlib.ExitStack() as stack:
        files = {}
        for split, rows in zip(SPLITS, learned.rows, strict=True):
            for group in GROUPS:
                file = stack.enter_context((folder / f"{split}.{group}.npy").open("wb"))
                dtype = np.dtype(np.int32 if group == "ids" else np.float32)
                header = {"descr": dtype.str, "fortran_order": False, "shape": (rows, widths[group])}
                np.lib.format.write_array_header_1_0(file, header)
                files[split, group] = file
        for path in track(parsed, len(parsed), f"{plan.name}: writing ids, chunks"):
            columns, _ = read_chunk(path)
            ids = [encode.to_ids(*pair) for pair in zip(columns["ids"].T, learned.vocabularies, strict=True)]
            encoded = {
                "ids": np.stack(ids, axis=1),
                "numeric": ((columns["values"] - learned.mean) / learned.deviation).astype(np.float32),
                "labels": columns["labels"],
            }
            for number, split in enumerate(SPLITS):
                chosen = columns["split"] == number
                positives[number] += columns["labels"][chosen].sum(axis=0, dtype=np.float64)
                for group in GROUPS:
                    files[split, group].write(np.ascontiguousarray(encoded[group][chosen]).data)
    return {
        split: dict(zip(plan.labels, (positives[i] / max(learned.rows[i], 1)).tolist(), strict=True))
        for i, split in enumerate(SPLITS)
    }


def _open(folder: Path, plan: Plan, max_rows: int | None) -> Prepared:
    meta = _read_json(folder / META_FILE)
    try:
        sizes, facts, blocks = tuple(meta["vocab_sizes"]), meta["facts"], meta["blocks"]
    except (KeyError, TypeError) as error:
        raise _damaged(folder, META_FILE, "is not what was written") from error
    if plan.files and facts["files"] != raw_sizes(plan.files):
        raise InputError(
            f"{folder}: was prepared from other files than {plan.files[0]} and those beside it; delete that "
            "folder to prepare it anew, or choose another data_dir"
        )
    splits = {}
    for split in SPLITS:
        columns = {}
        for group in GROUPS:
            name = f"{split}.{group}.npy"
            try:
                array = np.load(folder / name, mmap_mode="r")
            except (OSError, ValueError) as error:
                raise _damaged(folder, name, error) from error
            array = np.asarray(array[:max_rows])
            _verify(folder, name, blocks.get(name, []), array)
            columns[group] = array
        splits[split] = columns
    return Prepared(splits, sizes, facts)


def _verify(folder: Path, name: str, expected: Sequence[str], rows: np.ndarray) -> None:
    """Compares the blocks that hold the header and the rows, the first of the file."""
    size = (folder / name).stat().st_size
    whole = np.load(folder / name, mmap_mode="r")
    last = size - whole.nbytes + rows.nbytes
    needed = -(-last // BYTES_PER_BLOCK)
    for number, (found, known) in enumerate(zip(_blocks(folder / name), expected)):
        if number == needed:
            return
        if found != known:
            raise _damaged(folder, name, f"sha256 of block {number} is {found[:12]}…, expected {known[:12]}…")
    if len(expected) < needed:
        raise _damaged(folder, name, "it is longer than what was written")


def _blocks(path: Path) -> Iterator[str]:
    """Checksums of a file, block by block."""
    with path.open("rb") as content:
        while block := content.read(BYTES_PER_BLOCK):
            yield _sha256(block)


def raw_sizes(files: Sequence[Path]) -> dict[str, int]:
    """Returns the bytes of every raw file, by folder and name."""
    return {f"{path.parent.name}/{path.name}": path.stat().st_size for path in files}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _sha256(content: Any) -> str:
    return hashlib.sha256(content).hexdigest()


def _damaged(folder: Path, name: str, reason: object) -> InputError:
    why = " ".join(str(reason).split())
    return InputError(f"{folder / name}: is damaged ({why}); delete the folder {folder} and run again")
