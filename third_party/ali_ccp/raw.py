"""The raw files of Ali-CCP: the published layout and the sample, where they lie and how rows are read."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtl.errors import InputError
from third_party.ali_ccp.columns import (
    FIELDS,
    LABELS,
    NUMERIC,
    ROW_FIELDS,
    ROW_VALUES,
    USER_FIELDS,
    USER_VALUES,
)
from third_party.raw_files import (
    Piece,
    RawFile,
    line_number,
    locate,
    matrix,
    read_piece,
    read_table,
    refuse,
    refuse_line,
)

VERSION = "1.0.0"
FOLDER, SAMPLE_FOLDER = "ali_ccp", "ali_ccp_sample"
HOMEPAGE = "https://tianchi.aliyun.com/dataset/408"
LICENCE = "research use, as its page lists it"
CITATION = (
    "X. Ma, L. Zhao, G. Huang, Z. Wang, Z. Hu, X. Zhu, K. Gai, Entire Space Multi-Task Model: An Effective "
    "Approach for Estimating Post-Click Conversion Rate, SIGIR 2018, 10.1145/3209978.3210104"
)
SAMPLE_FILES = {
    "train": RawFile(
        "ali_ccp_train_sample.csv", 100, "1c1d125bcdfca70c8f5ed24f6221acadab3e19b70e0b06b3eb3adb2af7a0f9b5"
    ),
    "val": RawFile(
        "ali_ccp_val_sample.csv", 50, "1236e1504b76bf7ceb48dbe3d999ae8b49f61fcda2d684578320fd9fc7821104"
    ),
    "test": RawFile(
        "ali_ccp_test_sample.csv", 50, "9764a9b8e53b25f85c00e08a89f65ecfadab100cb0834161bd7ef671b7702a09"
    ),
}
PARTS = ("train", "test")
ABSENT = -1
"""In place of a feature where a row has none of a field."""

_SKELETON = {
    "sample_id": pa.int64(),
    "click": pa.int8(),
    "conversion": pa.int8(),
    "common_feature_index": pa.string(),
    "feature_num": pa.int32(),
    "features": pa.string(),
}
_COMMON = {"common_feature_index": pa.string(), "feature_num": pa.int32(), "features": pa.string()}
_SAMPLE = {
    **dict.fromkeys(LABELS, pa.int8()),
    **dict.fromkeys(FIELDS, pa.int32()),
    **dict.fromkeys(NUMERIC, pa.float32()),
}


class Files(NamedTuple):
    """Where the files of a part lie.

    Attributes:
      skeleton: the rows: labels, item and context.
      common: features of users, which many rows share.
    """

    skeleton: Path
    common: Path


def find(folder: Path) -> dict[str, Files]:
    """Looks for the four published files, unpacked, in `folder/ali_ccp` and in `folder`.

    Args:
      folder: where to look.

    Returns:
      The files of `train` and of `test`; empty where none is there.

    Raises:
      InputError: some of the four are missing, or are still packed.
    """
    names = [f"{kind}_{part}.csv" for part in PARTS for kind in ("sample_skeleton", "common_features")]
    for place in (folder / FOLDER, folder):
        found = {name: place / name for name in names if (place / name).is_file()}
        if found:
            for name in names:
                if name not in found:
                    raise InputError(f"{place}: {name} is missing; get it from {HOMEPAGE} and unpack it")
            return {
                part: Files(found[f"sample_skeleton_{part}.csv"], found[f"common_features_{part}.csv"])
                for part in PARTS
            }
        for packed in (*place.glob("sample_skeleton_*.gz"), *place.glob("sample_*.tar.gz")):
            raise InputError(
                f"{packed}: unpack it; large files are read from the middle, which gzip prevents"
            )
    return {}


def find_sample(folder: Path) -> dict[str, Path]:
    """Looks for the three files of the sample; empty where none is there."""
    return locate(folder, (SAMPLE_FOLDER,), SAMPLE_FILES, HOMEPAGE)


def read_sample(path: Path) -> pa.RecordBatch:
    """Reads a file of the sample, in which features are small integers already.

    Args:
      path: the file.

    Returns:
      `labels [N, 2]`, `ids [N, 23]` in the order of `FIELDS`, `values [N, 8]` in that of `NUMERIC`.

    Raises:
      InputError: the file is damaged, or a cell is empty or not of its type.
    """
    table = read_table(path, _SAMPLE)
    arrays = {name: table[name].to_numpy() for name in _SAMPLE}
    for name in LABELS:
        refuse(path, name, ~np.isin(arrays[name], (0, 1)), arrays[name], "0 or 1")
    return pa.record_batch(
        {
            "labels": matrix(np.stack([arrays[name] for name in LABELS], axis=1).astype(np.float32)),
            "ids": matrix(np.stack([arrays[name] for name in FIELDS], axis=1)),
            "values": matrix(np.stack([arrays[name] for name in NUMERIC], axis=1)),
        }
    )


def read_skeleton(piece: Piece) -> pa.RecordBatch:
    r"""Reads rows of `sample_skeleton_*.csv`.

    A line is `sample_id,click,conversion,common_feature_index,feature_num,features`, where features are
    joined by \x01, and each is `field\x02feature\x03value`.

    Args:
      piece: which lines.

    Returns:
      `sample_id`, `common_feature_index`, `labels [N, 2]` (click, purchase), `ids [N, 10]` in the order of
      `ROW_FIELDS` (of a field with several features the one with the largest value, the first of equal ones;
      `ABSENT` where a row has none), `values [N, 4]` of the features chosen for `ROW_VALUES`, 0 where absent.

    Raises:
      InputError: a line is malformed.
    """
    table = read_piece(piece, _SKELETON, b"\x02\x03", b"\x01\x01")
    labels = np.stack([table[name].to_numpy() for name in ("click", "conversion")], axis=1)
    for t, name in enumerate(("click", "conversion")):
        refuse_line(piece, name, ~np.isin(labels[:, t], (0, 1)), labels[:, t], "0 or 1")
    ids, values = _features(piece, table, ROW_FIELDS, ROW_VALUES)
    return pa.record_batch(
        {
            "sample_id": table["sample_id"],
            "common_feature_index": table["common_feature_index"],
            "labels": matrix(labels.astype(np.float32)),
            "ids": matrix(ids),
            "values": matrix(values),
        }
    )


def read_common(piece: Piece) -> pa.RecordBatch:
    """Reads rows of `common_features_*.csv`: `common_feature_index,feature_num,features`.

    Args:
      piece: which lines.

    Returns:
      `common_feature_index`, `ids [N, 13]` in the order of `USER_FIELDS`, `values [N, 4]` of `USER_VALUES`,
      as those of `read_skeleton`.

    Raises:
      InputError: a line is malformed.
    """
    table = read_piece(piece, _COMMON, b"\x02\x03", b"\x01\x01")
    ids, values = _features(piece, table, USER_FIELDS, USER_VALUES)
    return pa.record_batch(
        {
            "common_feature_index": table["common_feature_index"],
            "ids": matrix(ids),
            "values": matrix(values),
        }
    )


def _features(
    piece: Piece, table: pa.RecordBatch, fields: Sequence[str], weighted: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Turns strings `field 1 feature 1 value 1 field …` into a column per field; others are passed over."""
    lists = pc.split_pattern(table["features"], "\x01")
    sizes = pc.list_value_length(lists).to_numpy()
    announced = table["feature_num"].to_numpy()
    refuse_line(piece, "features", sizes != 3 * announced, sizes / 3, "as many features as feature_num says")
    tokens = lists.flatten()
    each = pa.array(np.arange(0, len(tokens), 3))
    field = pc.fill_null(pc.index_in(tokens.take(each), pa.array(fields)), -1).to_numpy()
    row = np.repeat(np.arange(len(sizes)), sizes // 3)
    try:
        feature = pc.cast(tokens.take(pc.add(each, 1)), pa.int32()).to_numpy()
        value = pc.cast(tokens.take(pc.add(each, 2)), pa.float32()).to_numpy()
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{piece.path}, lines {line_number(piece, 0)} to {line_number(piece, len(sizes) - 1)}: a "
            f"feature is malformed ({' '.join(str(error).split())}); the file is damaged, fetch it again"
        ) from error
    refuse_line(piece, "features", _any(row, ~np.isfinite(value), len(sizes)), sizes, "finite values")
    # The largest value of a cell is written last, and of equal ones the first.
    order = np.argsort(-value, kind="stable")[::-1]
    order = order[field[order] >= 0]
    row, field, feature, value = row[order], field[order], feature[order], value[order]
    ids = np.full((len(sizes), len(fields)), ABSENT, np.int32)
    ids[row, field] = feature
    values = np.zeros(ids.shape, np.float32)
    values[row, field] = value
    return ids, values[:, [fields.index(name) for name in weighted]]


def _any(row: np.ndarray, bad: np.ndarray, rows: int) -> np.ndarray:
    return np.bincount(row[bad], minlength=rows) > 0
