"""The raw file of Hillstrom's e-mail test: where it lies and how it is read."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from third_party.hillstrom.columns import AMOUNTS, COLUMNS, EVENTS, SEGMENTS
from third_party.raw_files import RawFile, locate, read_table, refuse

VERSION = "1.0.0"
FOLDER = "hillstrom"
HOMEPAGE = "https://blog.minethatdata.com/2008/03/minethatdata-e-mail-analytics-and-data.html"
LICENCE = "none stated; published by its author for anyone to analyse"
CITATION = "K. Hillstrom, The MineThatData E-Mail Analytics and Data Mining Challenge, 2008"
FILES = {
    "customers": RawFile(
        "hillstrom.csv", 64_000, "ff9e59285e9dc3f5fa3e0975419e6631ea5bdccd65d818991473d2367e02979c"
    ),
}


def find(folder: Path) -> Path | None:
    """Looks for the file, gzipped or plain, in `folder/hillstrom` and in `folder`."""
    return locate(folder, (FOLDER,), FILES, HOMEPAGE).get("customers")


def read(path: Path) -> pa.Table:
    """Reads and checks the file.

    Args:
      path: the raw file; `.gz` is decompressed on the fly.

    Returns:
      The columns of `COLUMNS`.

    Raises:
      InputError: the file is damaged or truncated, or a cell is empty or holds what its column cannot, such
        as a conversion without a visit; the message names file, row and column.
    """
    table = read_table(path, COLUMNS)
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in COLUMNS}
    for name in EVENTS:
        refuse(path, name, ~np.isin(columns[name], (0, 1)), columns[name], "0 or 1")
    for name in AMOUNTS:
        bad = ~(np.isfinite(columns[name]) & (columns[name] >= 0))
        refuse(path, name, bad, columns[name], "a finite number >= 0")
    known = np.isin(columns["segment"], SEGMENTS)
    refuse(path, "segment", ~known, columns["segment"], f"one of {', '.join(SEGMENTS)}")
    refuse(
        path,
        "conversion",
        columns["conversion"] > columns["visit"],
        columns["conversion"],
        "0 where visit is 0",
    )
    return table
