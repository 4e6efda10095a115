"""The raw files of AliExpress: one pair per country, and the sample; where they lie and how rows are read."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from mtl.errors import InputError
from third_party.aliexpress.columns import CATEGORICAL, COLUMNS, COUNTRIES, LABELS, NUMERIC
from third_party.raw_files import Piece, RawFile, locate, matrix, read_piece, refuse_line

VERSION = "1.0.0"
FOLDER, SAMPLE_FOLDER = "aliexpress", "aliexpress_sample"
HOMEPAGE = "https://tianchi.aliyun.com/dataset/74690"
LICENCE = "research use: provided to facilitate any research, as its page lists it"
CITATION = (
    "P. Li, R. Li, Q. Da, A.-X. Zeng, L. Zhang, Improving Multi-Scenario Learning to Rank in E-commerce by "
    "Exploiting Task Relationships in the Label Space, CIKM 2020, 10.1145/3340531.3412713"
)
SAMPLE_FILES = {
    "train": RawFile(
        "aliexpress_train_sample.csv", 100, "9a602d2bd6012b23898437f60977135b65e75c3414bf19cac0d70408b12035ef"
    ),
    "test": RawFile(
        "aliexpress_test_sample.csv", 20, "c264673dc08e68d1c6153b48c9039a3ea4d3ff3106b071550db34e311e25d529"
    ),
}
PARTS = ("train", "test")


def find(folder: Path) -> dict[str, dict[str, Path]]:
    """Looks for the folders `AliExpress_<country>` in `folder/aliexpress` and in `folder`.

    Args:
      folder: where to look.

    Returns:
      For each country found, in the order of `COUNTRIES`, the files of `train` and of `test`.

    Raises:
      InputError: one of a country's two files is missing, or is still packed.
    """
    for place in (folder / FOLDER, folder):
        found = {}
        for country in COUNTRIES:
            paths = {part: place / f"AliExpress_{country}" / f"{part}.csv" for part in PARTS}
            if not paths["train"].parent.is_dir():
                continue
            for path in paths.values():
                if not path.is_file():
                    packed = path.with_name(f"{path.name}.gz")
                    problem = f"unpack {packed.name}" if packed.is_file() else f"get it from {HOMEPAGE}"
                    raise InputError(f"{path}: is missing; {problem}")
            found[country] = paths
        if found:
            return found
    return {}


def find_sample(folder: Path) -> dict[str, Path]:
    """Looks for the two files of the sample; empty where none is there."""
    return locate(folder, (SAMPLE_FOLDER,), SAMPLE_FILES, HOMEPAGE)


def check_header(path: Path) -> None:
    """Refuses a file whose first line does not name the columns.

    Raises:
      InputError: a column is missing, unknown or in another place.
    """
    with path.open("rb") as lines:
        names = lines.readline().decode(errors="replace").strip().split(",")
    if names != list(COLUMNS):
        strange = [name for name, known in zip(names, COLUMNS) if name != known]
        found = f"{strange[0]!r}" if strange else f"{len(names)} columns"
        raise InputError(
            f"{path}: the header has {found}, expected the {len(COLUMNS)} columns search_id, "
            "categorical_1 … 16, numerical_1 … 63, click, conversion"
        )


def read_rows(piece: Piece) -> pa.RecordBatch:
    """Reads rows.

    Args:
      piece: which lines.

    Returns:
      `search_id`, `ids [N, 16]`, `values [N, 63]`, `labels [N, 2]` (click, conversion).

    Raises:
      InputError: a line is malformed, a number is not finite, or a label is not 0 or 1.
    """
    table = read_piece(piece, COLUMNS)
    arrays = {name: table[name].to_numpy() for name in COLUMNS if name != "search_id"}
    for name in LABELS:
        refuse_line(piece, name, ~np.isin(arrays[name], (0, 1)), arrays[name], "0 or 1")
    for name in NUMERIC:
        refuse_line(piece, name, ~np.isfinite(arrays[name]), arrays[name], "a finite number")
    for name in CATEGORICAL:
        refuse_line(piece, name, arrays[name] < 0, arrays[name], "a number >= 0")
    return pa.record_batch(
        {
            "search_id": table["search_id"],
            "ids": matrix(np.stack([arrays[name] for name in CATEGORICAL], axis=1)),
            "values": matrix(np.stack([arrays[name] for name in NUMERIC], axis=1)),
            "labels": matrix(np.stack([arrays[name] for name in LABELS], axis=1)),
        }
    )
