"""AliExpress search: click, then conversion, in one country or several."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from mtl.data import arguments, encode, streaming
from mtl.data.cache import data_folder, manual_folder
from mtl.data.dataset import SPLITS, Dataset, IdColumn, Schema
from mtl.errors import InputError
from mtl.tasks import Task
from third_party import aliexpress as source
from third_party.raw_files import Piece, checked, cut, hashes, matrix, not_found

TASKS = (Task("click"), Task("conversion", parents=("click",), requires=("click",)))
SAMPLE = "sample"
"""Stands for the country of the sample, which is not stated."""

VAL_ONE_IN = 10


def aliexpress(
    countries: Sequence[str] | None = None,
    max_rows: int | None = None,
    min_count: int = 1,
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Loads AliExpress's search logs: products shown for a search, clicks, and conversions after a click.

    Reads the published files of some countries, or else the sample. A tenth of the searches of the published
    training part, chosen by a hash of country and search id, is `val`, so that no search is in two splits;
    the published test part is `test`. Rows with a conversion but no click are dropped and counted.

    The country is the domain: the id column `country`, whose id 0 is a country that `train` does not have.
    The 16 categorical columns are encoded over all countries together, and the 63 quantities standardised
    so.

    The first call prepares the set, as that of Ali-CCP, once per choice of countries and `min_count`.

    Args:
      countries: some of `ES`, `FR`, `NL`, `RU` and `US`; by default all that are found.
      max_rows: at most so many rows of each split, the first ones, in which the countries take turns in runs
        of 16 MB of text; None for all, which are read from disk when they are used.
      min_count: categories with fewer rows in `train` get id 0, as those that `train` does not have.
      data_dir: where prepared sets live; by default `MTL_DATA_DIR`, else `~/.cache/mtl`.
      manual_dir: where raw files lie; by default `MTL_MANUAL_DIR`. Not needed once the set is prepared, if
        `countries` are named.

    Returns:
      The data set; its provenance holds files, dropped rows and the label rates of the whole set.

    Raises:
      InputError: an argument is wrong, the raw files cannot be found or are damaged, or the prepared set is.

    Reference: Li, Li, Da, Zeng, Zhang, "Improving Multi-Scenario Learning to Rank in E-commerce by Exploiting
      Task Relationships in the Label Space", CIKM 2020.
    """
    if countries is not None:
        countries = arguments.names("countries", countries, source.COUNTRIES)
    if max_rows is not None:
        max_rows = arguments.integer("max_rows", max_rows, 1)
    min_count = arguments.integer("min_count", min_count, 1)
    files = _files(manual_folder(manual_dir), countries)
    names = [
        country for country in (*source.COUNTRIES, SAMPLE) if country in (countries or files or [SAMPLE])
    ]
    folder = data_folder(data_dir) / "aliexpress" / f"{source.VERSION}-{'-'.join(names)}-min{min_count}"
    if not files and not folder.exists():
        raise not_found(
            "aliexpress",
            [f"AliExpress_{c}/train.csv and test.csv" for c in countries or source.COUNTRIES],
            source.FOLDER,
            source.HOMEPAGE,
        )
    found = streaming.streamed(folder, _plan(files, names, min_count), max_rows)
    columns = ("country", *source.CATEGORICAL)
    id_columns = tuple(
        IdColumn(name, size, "domain" if name == "country" else "")
        for name, size in zip(columns, found.vocab_sizes, strict=True)
    )
    return Dataset(
        name="aliexpress",
        schema=Schema(id_columns, source.NUMERIC, TASKS),
        splits=found.splits,
        provenance={
            "source": source.HOMEPAGE,
            "licence": source.LICENCE,
            "citation": source.CITATION,
            "arguments": {"countries": names, "max_rows": max_rows, "min_count": min_count},
            **found.facts,
            "rows_loaded": {split: len(found.splits[split]["labels"]) for split in SPLITS},
        },
    )


def _files(manual: Path | None, countries: Sequence[str] | None) -> dict[str, dict[str, Path]]:
    """The files of each country, or of the sample; empty where there are none."""
    if manual is None:
        return {}
    found = source.find(manual)
    if countries is None and not found:
        sample = source.find_sample(manual)
        return {SAMPLE: sample} if sample else {}
    for country in countries or ():
        if found and country not in found:
            raise InputError(
                f"aliexpress: no folder AliExpress_{country} beside those of {', '.join(found)}; get it from "
                f"{source.HOMEPAGE}"
            )
    return {country: found[country] for country in found if country in (countries or found)}


def _plan(files: dict[str, dict[str, Path]], names: Sequence[str], min_count: int) -> streaming.Plan:
    paths = {path: (country, part) for country, pair in files.items() for part, path in pair.items()}
    pieces: list[tuple[int, Piece]] = []
    for path, (_, part) in paths.items():
        source.check_header(path)
        pieces += enumerate(cut(path, part, streaming.BYTES_PER_PIECE, header=True))
    sample = files.get(SAMPLE, {})

    def parse(piece: Piece) -> pa.RecordBatch:
        country, part = paths[piece.path]
        rows = source.read_rows(piece)
        arrays = {name: streaming.as_array(rows[name]) for name in ("ids", "values", "labels")}
        code = names.index(country)
        split = np.full(rows.num_rows, SPLITS.index(part), np.uint8)
        if part == "train":
            search = encode.mixed(hashes(rows["search_id"]) + np.uint64(code))
            split[search % VAL_ONE_IN == 0] = SPLITS.index("val")
        kept = arrays["labels"][:, 0] >= arrays["labels"][:, 1]
        countries = np.full((rows.num_rows, 1), code, np.int32)
        batch = pa.record_batch(
            {
                "split": pa.array(split[kept]),
                "ids": matrix(np.concatenate([countries, arrays["ids"]], axis=1)[kept]),
                "values": matrix(arrays["values"][kept]),
                "labels": matrix(arrays["labels"][kept]),
            }
        )
        return batch.replace_schema_metadata({"dropped": str(int((~kept).sum()))})

    return streaming.Plan(
        name="aliexpress",
        files=list(paths),
        # In turn from every country, so that the first rows are not those of one.
        pieces=[piece for _, piece in sorted(pieces, key=lambda numbered: numbered[0])],
        parser=lambda work: parse,
        min_counts=(1, *(min_count,) * len(source.CATEGORICAL)),
        labels=source.LABELS,
        facts={"sample": {part: checked(path, source.SAMPLE_FILES[part]) for part, path in sample.items()}},
    )
