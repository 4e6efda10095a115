"""The raw files of MovieLens: the editions' two layouts, where they lie and how they are read."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from mtl.errors import InputError
from third_party.movielens.columns import MOVIES, RATINGS, TAGS, USERS
from third_party.raw_files import UNREADABLE, RawFile, damaged, read_table, refuse

VERSION = "1.0.0"
FOLDERS = (
    *("movielens", "ml-32m", "ml-25m", "ml-20m", "ml-10M100K", "ml-1m", "ml-latest-small"),
    "movielens_latest_small",
)
"""Where an edition is looked for, in this order."""

HOMEPAGE = "https://grouplens.org/datasets/movielens/"
LICENCE = "research use; see third_party/movielens/README.md"
CITATION = (
    "F. M. Harper, J. A. Konstan, The MovieLens Datasets: History and Context, ACM Transactions on "
    "Interactive Intelligent Systems 5(4):19, 2015, 10.1145/2827872"
)
TABLES = {"ratings": RATINGS, "movies": MOVIES, "tags": TAGS, "users": USERS}
REQUIRED = ("ratings", "movies")
SMALL = {
    "ratings": RawFile(
        "ratings.csv", 100_836, "aa289ca83157595d0df6aea1be6a4ded676ddc4385472e8313a8ed9805352646"
    ),
    "movies": RawFile(
        "movies.csv", 9_742, "5a5f32dd9bb3797b8e728a1b98958789d2b13f294a69fdfbc5727f8a9611aa07"
    ),
    "tags": RawFile("tags.csv", 3_683, "92a9f8bb7916dceef6151209845788c3643f794dfa79d1feaec7121b5960399d"),
}
"""The tables of ml-latest-small, in the edition of 2018-09-26."""

WORST, BEST = 0.5, 5.0


def find(folder: Path) -> dict[str, Path]:
    """Looks for an edition in each of `FOLDERS`, then in the folder itself.

    Args:
      folder: where to look.

    Returns:
      The path of `ratings` and `movies`, and of `tags` and `users` where the edition has them; `.csv` with a
      header or `.dat` with `::` between cells, plain or `.gz`. Empty where there are none.

    Raises:
      InputError: there are ratings without movies, or the reverse.
    """
    for place in (*(folder / name for name in FOLDERS), folder):
        for suffix in (".csv", ".dat"):
            found = {
                table: path
                for table in TABLES
                for path in (place / f"{table}{suffix}", place / f"{table}{suffix}.gz")
                if path.is_file()
            }
            missing = [table for table in REQUIRED if table not in found]
            if len(missing) == 1:
                raise InputError(f"{place}: {missing[0]}{suffix} is missing; get it from {HOMEPAGE}")
            if not missing:
                return found
    return {}


def read(table: str, path: Path) -> pa.Table:
    """Reads and checks a table.

    Args:
      table: `ratings`, `movies`, `tags` or `users`.
      path: its file.

    Returns:
      The columns of that name in `columns.py`.

    Raises:
      InputError: the file is damaged or truncated, or a cell is empty or holds what its column cannot; the
        message names file, line and column.
    """
    columns = TABLES[table]
    found = (
        _read_dat(path, columns) if ".dat" in path.suffixes else read_table(path, columns, optional=("tag",))
    )
    if table == "ratings":
        rating = found["rating"].to_numpy()
        halves = np.isin(rating, np.arange(WORST, BEST + WORST, WORST, dtype=np.float32))
        refuse(path, "rating", ~halves, rating, f"{WORST} … {BEST} in halves")
        times = found["timestamp"].to_numpy()
        refuse(path, "timestamp", times < 0, times, "a number >= 0")
    return found


def _read_dat(path: Path, columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Reads a file without a header, with `::` between cells; ml-1m is in Latin-1, later editions in "
    "UTF-8."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            content = file.read()
        try:
            content.decode()
        except UnicodeDecodeError:
            content = content.decode("latin-1").encode()
        return pyarrow.csv.read_csv(
            pa.BufferReader(content.replace(b"::", b"\x01")),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, column_names=list(columns)),
            parse_options=pyarrow.csv.ParseOptions(delimiter="\x01", quote_char=False),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict(columns), null_values=[]),
        )
    except (*UNREADABLE, pa.ArrowInvalid) as error:
        raise damaged(path, error) from error
