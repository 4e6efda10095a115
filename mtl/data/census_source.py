"""Census-Income (KDD) from raw files through TFDS to one cached table of all 42 columns."""

import contextlib
import hashlib
import http.client
import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mtl.data.cache import Facts, cached, data_folder, manual_folder
from mtl.errors import InputError
from mtl.progress import track
from third_party import census_income_kdd as source

ROWS_PER_READ = 8192


def census_table(
    data_dir: str | os.PathLike[str] | None, manual_dir: str | os.PathLike[str] | None
) -> tuple[pa.Table, Facts]:
    """Returns the cleaned table, training rows first, prepared on the first call.

    The first call takes about 25 s on one core and leaves 160 MB (TFDS's records, kept so that other
    readers can use them, are two thirds of it); later calls read the cache.

    Args:
      data_dir: where prepared sets live.
      manual_dir: where raw files lie.

    Returns:
      The table (quantities float32, categories dictionary-encoded) and the facts
      `{"parts": {"train" | "test": {"file", "rows", "file_sha256", "sha256", "checksum"}}}`.

    Raises:
      InputError: the raw files cannot be found or fetched, are damaged, or differ from those that the
        cache was made from.
    """
    manual = manual_folder(manual_dir)
    raw = source.find(manual) if manual else None
    folder = data_folder(data_dir) / "census_income_kdd" / source.VERSION
    table, facts = cached(folder, lambda work: _build(work, raw))
    for part, path in (raw or {}).items():
        known = facts["parts"][part]
        if _file_sha256(path) != known["file_sha256"] and source.sha256(path) != known["sha256"]:
            raise InputError(
                f"{path}: is not the file that {folder} was prepared from; delete that folder to "
                "prepare it anew, or choose another data_dir"
            )
    return table, facts


def _build(work: Path, raw: dict[str, Path] | None) -> tuple[pa.Table, Facts]:
    raw = raw or _fetch(work)
    records = _records(work, raw)
    table = pa.concat_tables(chunk for part in records for chunk in _chunks(part, records[part]))
    facts = {part: _file_facts(part, raw[part], len(records[part])) for part in records}
    shutil.rmtree(work / "raw", ignore_errors=True)
    return table.unify_dictionaries().combine_chunks(), {"parts": facts}


def _fetch(work: Path) -> dict[str, Path]:
    folder = work / "raw"
    folder.mkdir()
    try:
        return source.fetch(folder)
    except (
        OSError,
        http.client.HTTPException,
        zipfile.BadZipFile,
        tarfile.TarError,
        KeyError,
    ) as error:
        names = " and ".join(f"{file.name}.gz" for file in source.FILES.values())
        reason = " ".join(str(error).split())
        raise InputError(
            f"census: no raw files, and {source.URL} could not be fetched ({reason}); get {names} "
            f"from {source.HOMEPAGE}, put them into a folder and set manual_dir (--manual_dir or "
            "MTL_MANUAL_DIR) to it"
        ) from error


def _records(work: Path, raw: dict[str, Path]) -> dict[str, Any]:
    # Imported here because a cached set needs neither TFDS nor the time it takes to load.
    import tensorflow_datasets as tfds

    from third_party.census_income_kdd.builder import CensusIncomeKdd

    tfds.disable_progress_bar()
    builder = CensusIncomeKdd(data_dir=work / "tfds", file_format="array_record", watch=track)
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=raw["train"].parent)
        )
    return {part: builder.as_data_source(part) for part in raw}


def _chunks(part: str, records: Any) -> Iterator[pa.Table]:
    starts = range(0, len(records), ROWS_PER_READ)
    for start in track(starts, len(starts), f"census: packing {part}, blocks of rows"):
        stop = min(start + ROWS_PER_READ, len(records))
        rows = records.__getitems__(range(start, stop))
        numeric = np.stack([row["numeric"] for row in rows])
        categorical = np.stack([row["categorical"] for row in rows])
        yield pa.table(
            {
                **{name: numeric[:, c] for c, name in enumerate(source.NUMERIC)},
                **{
                    name: pa.array(categorical[:, c], pa.string()).dictionary_encode()
                    for c, name in enumerate(source.CATEGORICAL)
                },
            }
        )


def _file_facts(part: str, path: Path, rows: int) -> Facts:
    content = source.sha256(path)
    published = content == source.FILES[part].sha256
    return {
        "file": path.name,
        "rows": rows,
        "file_sha256": _file_sha256(path),
        "sha256": content,
        "checksum": "published" if published else "differs from the published file",
    }


def _file_sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
