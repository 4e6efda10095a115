"""Ali-CCP: click, then purchase, in 85 million rows that stream from disk."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mtl.data import arguments, encode, streaming
from mtl.data.cache import data_folder, manual_folder
from mtl.data.dataset import SPLITS, Dataset, IdColumn, Schema
from mtl.tasks import Task
from third_party import ali_ccp as source
from third_party.raw_files import Piece, checked, cut, hashes, matrix, not_found

TASKS = (Task("click"), Task("purchase", parents=("click",), requires=("click",)))
VAL_ONE_IN = 10
MIN_COUNTS = {"full": 10, "sample": 1}


class _Common(NamedTuple):
    """Features of users, in the order of the file; only hashes and rows lie in memory, 16 bytes a user.

    Attributes:
      hashes: hashes of the indices, in rising order.
      rows: row of each hash.
      ids: `[U, 13]`, mapped from disk.
      values: `[U, 4]`, mapped from disk.
    """

    hashes: np.ndarray
    rows: np.ndarray
    ids: np.ndarray
    values: np.ndarray


def ali_ccp(
    max_rows: int | None = None,
    min_count: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Loads Ali-CCP: impressions in a shop's recommendations, clicks, and purchases after a click.

    Reads the published files, or what was prepared from them, or else the sample. Of the published training
    part every tenth row, chosen by a hash of its sample id, is `val`; the published test part is `test`.
    Rows with a purchase but no click are dropped and counted.

    A field with several features in a row, such as the categories of past behaviour, becomes the one with
    the largest value; eight such values are the numeric columns, standardised. Features of users stand in a
    file of their own, which many rows share. It is parsed first, into arrays on disk; memory holds a hash
    and a row number for each of its lines, 16 bytes, and each chunk of rows takes what it needs from the
    arrays.

    The first call prepares the set, once per `min_count`: see `benchmarks/streaming_cache.py` for rows per
    second and memory. It can be stopped, and continues where it was. Later calls map arrays from disk, and
    check them against their checksums.

    Args:
      max_rows: at most so many rows of each split, the first ones; None for all, which are read from disk
        when they are used, and need as much memory as a model's training loop asks for.
      min_count: features with fewer rows in `train` get id 0, as those that `train` does not have, and as an
        absent feature; by default 10, for the sample 1.
      data_dir: where prepared sets live; by default `MTL_DATA_DIR`, else `~/.cache/mtl`.
      manual_dir: where raw files lie; by default `MTL_MANUAL_DIR`. Not needed once the set is prepared.

    Returns:
      The data set; its provenance holds files, dropped rows and the label rates of the whole set.

    Raises:
      InputError: an argument is wrong, the raw files cannot be found or are damaged, or the prepared set is.

    Reference: Ma, Zhao, Huang, Wang, Hu, Zhu, Gai, "Entire Space Multi-Task Model: An Effective Approach for
      Estimating Post-Click Conversion Rate", SIGIR 2018.
    """
    if max_rows is not None:
        max_rows = arguments.integer("max_rows", max_rows, 1)
    if min_count is not None:
        min_count = arguments.integer("min_count", min_count, 1)
    manual = manual_folder(manual_dir)
    full = source.find(manual) if manual else {}
    sample = source.find_sample(manual) if manual else {}
    counts = {edition: min_count or least for edition, least in MIN_COUNTS.items()}
    folders = {
        edition: data_folder(data_dir) / "ali_ccp" / f"{source.VERSION}-{edition}-min{count}"
        for edition, count in counts.items()
    }
    if full or folders["full"].exists():
        edition, plan = "full", _full_plan(full, counts["full"])
    elif sample or folders["sample"].exists():
        edition, plan = "sample", _sample_plan(sample, counts["sample"])
    else:
        names = [f"{kind}_{p}.csv" for kind in ("sample_skeleton", "common_features") for p in source.PARTS]
        raise not_found("ali_ccp", names, source.FOLDER, source.HOMEPAGE)
    found = streaming.streamed(folders[edition], plan, max_rows)
    id_columns = tuple(
        IdColumn(name, size, source.ROLES[name])
        for name, size in zip(source.FIELDS, found.vocab_sizes, strict=True)
    )
    return Dataset(
        name="ali_ccp",
        schema=Schema(id_columns, source.NUMERIC, TASKS),
        splits=found.splits,
        provenance={
            "source": source.HOMEPAGE,
            "licence": source.LICENCE,
            "citation": source.CITATION,
            "arguments": {"max_rows": max_rows, "min_count": counts[edition]},
            "edition": edition,
            **found.facts,
            "rows_loaded": {split: len(found.splits[split]["labels"]) for split in SPLITS},
        },
    )


def _sample_plan(paths: dict[str, Path], min_count: int) -> streaming.Plan:
    def parse(piece: Piece) -> pa.RecordBatch:
        rows = source.read_sample(piece.path)
        split = np.full(rows.num_rows, SPLITS.index(piece.part), np.uint8)
        return rows.append_column("split", pa.array(split))

    return streaming.Plan(
        name="ali_ccp",
        files=list(paths.values()),
        pieces=[Piece(path, part, 0, path.stat().st_size) for part, path in paths.items()],
        parser=lambda work: parse,
        min_counts=(min_count,) * len(source.FIELDS),
        labels=source.LABELS,
        facts={"sample": {part: checked(path, source.SAMPLE_FILES[part]) for part, path in paths.items()}},
    )


def _full_plan(parts: dict[str, source.Files], min_count: int) -> streaming.Plan:
    def parser(work: Path) -> streaming.Parse:
        common = {part: _common(work, part, parts[part].common) for part in parts}
        return lambda piece: _parse(piece, common[piece.part])

    return streaming.Plan(
        name="ali_ccp",
        files=[path for pair in parts.values() for path in pair],
        pieces=[
            piece
            for part, pair in parts.items()
            for piece in cut(pair.skeleton, part, streaming.BYTES_PER_PIECE, header=False)
        ],
        parser=parser,
        min_counts=(min_count,) * len(source.FIELDS),
        labels=source.LABELS,
        facts={},
    )


def _common(work: Path, part: str, path: Path) -> _Common:
    """Parses the features of users into arrays on disk, and indexes them."""

    def parse(piece: Piece) -> pa.RecordBatch:
        rows = source.read_common(piece)
        return pa.record_batch(
            {
                "hash": pa.array(hashes(rows["common_feature_index"])),
                "ids": rows["ids"],
                "values": rows["values"],
            }
        )

    pieces = cut(path, part, streaming.BYTES_PER_PIECE, header=False)
    parsed = streaming.chunks(work / f"common_{part}", pieces, parse, f"ali_ccp: parsing users of {part}")
    keys, counts = [], []
    for chunk in parsed:
        columns, _ = streaming.read_chunk(chunk)
        keys.append(columns["hash"].copy())
        counts.append(len(keys[-1]))
    arrays: dict[str, Any] = {}
    for name, dtype in (("ids", np.int32), ("values", np.float32)):
        target = work / f"common_{part}.{name}.npy"
        with target.open("wb") as file:
            width = len(source.USER_FIELDS if name == "ids" else source.USER_VALUES)
            header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (sum(counts), width)}
            np.lib.format.write_array_header_1_0(file, header)
            for chunk in parsed:
                file.write(np.ascontiguousarray(streaming.read_chunk(chunk)[0][name]).data)
        arrays[name] = np.load(target, mmap_mode="r")
    whole = np.concatenate(keys)
    order = np.argsort(whole, kind="stable")
    return _Common(whole[order], order, **arrays)


def _parse(piece: Piece, common: _Common) -> pa.RecordBatch:
    rows = source.read_skeleton(piece)
    arrays = {name: streaming.as_array(rows[name]) for name in ("sample_id", "labels", "ids", "values")}
    # Of lines with the same index the first counts; a row whose index has no line has none of these features.
    wanted = hashes(rows["common_feature_index"])
    place = np.minimum(np.searchsorted(common.hashes, wanted), len(common.hashes) - 1)
    there = common.hashes[place] == wanted
    user = common.rows[place]
    user_ids = np.where(there[:, None], common.ids[user], source.ABSENT)
    user_values = np.where(there[:, None], common.values[user], np.float32(0))
    split = np.full(len(wanted), SPLITS.index(piece.part), np.uint8)
    if piece.part == "train":
        split[encode.mixed(arrays["sample_id"]) % VAL_ONE_IN == 0] = SPLITS.index("val")
    kept = arrays["labels"][:, 0] >= arrays["labels"][:, 1]
    batch = pa.record_batch(
        {
            "split": pa.array(split[kept]),
            "ids": matrix(np.concatenate([user_ids, arrays["ids"]], axis=1)[kept]),
            "values": matrix(np.concatenate([user_values, arrays["values"]], axis=1)[kept]),
            "labels": matrix(arrays["labels"][kept]),
        }
    )
    return batch.replace_schema_metadata({"dropped": str(int((~kept).sum()))})
