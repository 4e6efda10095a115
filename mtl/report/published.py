"""Published result tables, to be shown beside a study's own and never returned as results."""

import csv
from pathlib import Path
from typing import NamedTuple

from mtl.errors import InputError, unknown_name

FOLDER = Path(__file__).resolve().parents[2] / "third_party" / "published"
"""`third_party` lies next to the `mtl` package, in a checkout and when installed."""


class Figure(NamedTuple):
    """One published number; the columns are explained in `third_party/published/README.md`.

    Attributes:
      source: paper or page.
      group: the tasks trained together.
      model: preset name where the library has the model, else the paper's name.
      task: task name.
      metric: metric name as in `results.csv`.
      statistic: what the number is over the source's trainings: `mean`, `best`, `reported` …
      value: the number as printed.
      reliability: `published`, `inconsistent` or `reproduction`.
      note: conditions and cautions.
    """

    source: str
    group: str
    model: str
    task: str
    metric: str
    statistic: str
    value: float
    reliability: str
    note: str


def read_published(name: str) -> tuple[Figure, ...]:
    """Reads one published table.

    Args:
      name: file name without `.csv`, such as "census_income".

    Returns:
      Its figures in the order of the file.

    Raises:
      InputError: there is no such table, or a line of it is malformed.
    """
    known = sorted(path.stem for path in FOLDER.glob("*.csv"))
    if name not in known:
        raise unknown_name("published table", name, known)
    path = FOLDER / f"{name}.csv"
    figures = []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        if tuple(next(reader, ())) != Figure._fields:
            raise InputError(f"{path} line 1: expected the header {','.join(Figure._fields)}")
        for cells in reader:
            try:
                row = dict(zip(Figure._fields, cells, strict=True))
                figures.append(Figure(**{**row, "value": float(row["value"])}))  # type: ignore[arg-type]
            except ValueError as error:
                raise InputError(
                    f"{path} line {reader.line_num}: expected {len(Figure._fields)} cells with a "
                    f"number as value; restore the file"
                ) from error
    return tuple(figures)
