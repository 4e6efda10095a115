"""The raw files of Census-Income (KDD): where they lie, how to fetch them, how to read a row."""

import gzip
import hashlib
import math
import shutil
import tarfile
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mtl.errors import InputError
from third_party.census_income_kdd.columns import CATEGORICAL, COLUMNS, LABEL_VALUES, NUMERIC

VERSION = "1.0.0"
HOMEPAGE = "https://archive.ics.uci.edu/dataset/117/census+income+kdd"
URL = "https://archive.ics.uci.edu/static/public/117/census+income+kdd.zip"
LICENCE = "CC BY 4.0"
CITATION = "Census-Income (KDD) [Data set], 2000, UCI Machine Learning Repository, 10.24432/C5N30T"
TIMEOUT_SECONDS = 10.0
UNREADABLE = (OSError, EOFError, zlib.error, UnicodeDecodeError)
"""What a damaged or truncated file raises while it is read."""


class RawFile(NamedTuple):
    """One published file.

    Attributes:
      name: file name without `.gz`.
      rows: number of rows.
      sha256: checksum of the decompressed content, which does not depend on the gzip wrapping.
    """

    name: str
    rows: int
    sha256: str


FILES = {
    "train": RawFile(
        "census-income.data",
        199_523,
        "3676a81db7d3528f3f8b9f3c699d0f0aa28db45e6e994fa0b8ed38327539ee86",
    ),
    "test": RawFile(
        "census-income.test",
        99_762,
        "98402b1ab879573d0a7f38a699a40258080e25e33d3401e7bf9c96d3fa0fab8c",
    ),
}

_NUMERIC_AT = tuple((COLUMNS.index(name), name) for name in NUMERIC)
_CATEGORICAL_AT = tuple(COLUMNS.index(name) for name in CATEGORICAL)
_LABELS_AT = tuple((COLUMNS.index(name), name) for name in LABEL_VALUES)


def find(folder: Path) -> dict[str, Path] | None:
    """Looks for the two raw files, gzipped or plain.

    Args:
      folder: a folder that holds them, directly or in `census_income_kdd/`.

    Returns:
      The path of the `train` and of the `test` file, or None where neither file exists.

    Raises:
      InputError: only one of the two files is there.
    """
    for place in (folder / "census_income_kdd", folder):
        found = {
            part: path
            for part, file in FILES.items()
            for path in (place / file.name, place / f"{file.name}.gz")
            if path.is_file()
        }
        if len(found) == len(FILES):
            return found
        for part, file in FILES.items():
            if found and part not in found:
                raise InputError(
                    f"{place}: {file.name}.gz is missing beside {next(iter(found.values())).name}; "
                    f"both are needed, get it from {HOMEPAGE}"
                )
    return None


def fetch(folder: Path) -> dict[str, Path]:
    """Downloads the published archive and unpacks the two raw files.

    The archive's layout (a zip that holds `census.tar.gz`, which holds the two files) is taken from
    public code that reads it; neither the address nor the layout could be checked when this was
    written, because no network was at hand. The files' checksums decide what was got.

    Args:
      folder: an existing folder to write into.

    Returns:
      The path of the `train` and of the `test` file.

    Raises:
      OSError: the address does not answer within 10 s (of silence), or the disk is full.
      zipfile.BadZipFile: what came is not a zip.
      tarfile.TarError: its inner archive is damaged.
      KeyError: a file is not in the archive.
    """
    archive = folder / "census_income_kdd.zip"
    with (
        urllib.request.urlopen(URL, timeout=TIMEOUT_SECONDS) as response,
        archive.open("wb") as out,
    ):
        shutil.copyfileobj(response, out)
    with (
        zipfile.ZipFile(archive) as outer,
        outer.open("census.tar.gz") as member,
        tarfile.open(fileobj=member, mode="r:gz") as inner,
    ):
        for file in FILES.values():
            content = inner.extractfile(file.name)
            if content is None:
                raise KeyError(file.name)
            with content, (folder / file.name).open("wb") as out:
                shutil.copyfileobj(content, out)
    archive.unlink()
    return {part: folder / file.name for part, file in FILES.items()}


def rows(path: Path) -> Iterator[tuple[list[float], list[str]]]:
    """Reads and checks a raw file row by row.

    Blanks around values and the full stop after the income are dropped; `?` (missing) and `NA`
    (a category of the source) are kept as they are.

    Args:
      path: a raw file; `.gz` is decompressed on the fly.

    Yields:
      The values of `NUMERIC` and those of `CATEGORICAL`.

    Raises:
      InputError: the file is empty, damaged or truncated, or a row has a wrong number of columns, an
        empty cell, a quantity that is not a finite number >= 0, or an unknown label value; the
        message names file, line and column.
    """
    number = 0
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                number += 1
                yield _row(f"{path}, line {number}", line)
    except UNREADABLE as error:
        raise _damaged(f"{path}, after line {number}", error) from error
    if number == 0:
        raise InputError(f"{path}: is empty; fetch it again from {HOMEPAGE}")


def _row(where: str, line: str) -> tuple[list[float], list[str]]:
    values = [value.strip() for value in line.split(",")]
    if len(values) != len(COLUMNS):
        raise InputError(
            f"{where}: {len(values)} columns, expected {len(COLUMNS)}; the row is cut or damaged"
        )
    values[-1] = values[-1].removesuffix(".")
    if "" in values:
        column = COLUMNS[values.index("")]
        raise InputError(f"{where}, column {column!r}: is empty; a missing value is written '?'")
    for c, column in _LABELS_AT:
        if values[c] not in LABEL_VALUES[column]:
            raise InputError(
                f"{where}, column {column!r}: {values[c]!r} is not a label value; expected one of: "
                f"{', '.join(LABEL_VALUES[column])}"
            )
    numbers = [_quantity(where, column, values[c]) for c, column in _NUMERIC_AT]
    return numbers, [values[c] for c in _CATEGORICAL_AT]


def _quantity(where: str, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0.0 <= value < math.inf:
        return value
    raise InputError(f"{where}, column {column!r}: {text!r} is not a finite number >= 0")


def _damaged(where: str, error: Exception) -> InputError:
    return InputError(
        f"{where}: cannot be read, the file is damaged or truncated "
        f"({' '.join(str(error).split())}); fetch it again from {HOMEPAGE}"
    )


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a raw file's content; a `.gz` is decompressed first.

    Args:
      path: the file.

    Returns:
      64 hexadecimal digits.

    Raises:
      InputError: the file is damaged or truncated.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except UNREADABLE as error:
        raise _damaged(str(path), error) from error
