"""A tiny Census-Income (KDD) in the published layout."""

import contextlib
import gzip
import io
import os
from pathlib import Path

import numpy as np
import pytest

from third_party.census_income_kdd.columns import COLUMNS

NUM_TRAIN, NUM_TEST = 60, 24


def census_rows(count, seed):
    """Rows as lists of 42 cells; every label takes both values in any ten rows."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        row = dict.fromkeys(COLUMNS, "Not in universe")
        row |= {
            "age": str(rng.integers(0, 91)),
            "det_ind_code": str(rng.integers(0, 5)),
            "education": ["Children", "Bachelors degree(BA AB BS)", "Some college but no degree"][i % 3],
            "wage_per_hour": str(rng.choice([0, 0, 0, 500, 1200])),
            "marital_stat": ["Never married", "Divorced"][(i // 2) % 2],
            "hisp_origin": str(rng.choice(["NA", "All other"])),
            "capital_gains": str(rng.choice([0, 0, 0, 7688])),
            "capital_losses": "0",
            "stock_dividends": str(rng.integers(0, 3000)),
            "state_prev_res": str(rng.choice(["?", "Utah", "Texas"])),
            "instance_weight": f"{rng.uniform(40, 4000):.2f}",
            "num_emp": str(rng.integers(0, 7)),
            "citizenship": "Foreign born- Not a citizen of U S ",
            "weeks_worked": str(rng.choice([0, 26, 52])),
            "year": str(rng.choice([94, 95])),
            "income_50k": ["- 50000.", "50000+."][i % 5 == 0],
        }
        rows.append([row[name] for name in COLUMNS])
    return rows


@pytest.fixture
def train_rows():
    return census_rows(NUM_TRAIN, seed=1)


@pytest.fixture
def test_rows():
    return census_rows(NUM_TEST, seed=2)


@pytest.fixture
def write_census(tmp_path):
    """Returns a function that writes both raw files and gives the loader's folders."""

    def write(train, test, folder="census_income_kdd"):
        manual = tmp_path / "manual"
        for name, rows in (("census-income.data.gz", train), ("census-income.test.gz", test)):
            path = manual / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            text = "".join(", ".join(row) + "\n" for row in rows)
            path.write_bytes(gzip.compress(text.encode(), mtime=0))
        return {"data_dir": tmp_path / "prepared", "manual_dir": manual}

    return write


@pytest.fixture(autouse=True)
def _no_folders_from_the_environment(request, monkeypatch):
    """Tests name their folders; only those of the real files read MTL_MANUAL_DIR."""
    if not {"real_files", "real_folder"} & set(request.fixturenames):
        monkeypatch.delenv("MTL_MANUAL_DIR", raising=False)
    monkeypatch.delenv("MTL_DATA_DIR", raising=False)


@pytest.fixture
def real_folder():
    """Returns a function that gives MTL_MANUAL_DIR where a folder of raw files lies in it, else skips."""

    def given(name):
        folder = os.environ.get("MTL_MANUAL_DIR")
        if not folder or not (Path(folder) / name).is_dir():
            pytest.skip(f"needs MTL_MANUAL_DIR with the folder {name}")
        return folder

    return given


@pytest.fixture
def prepared_blocks(tmp_path):
    """Returns a function that prepares a TFDS builder and gives the blocks of each of its parts."""
    import tensorflow_datasets as tfds

    def prepare(builder, manual_dir, **kwargs):
        tfds.disable_progress_bar()
        made = builder(data_dir=tmp_path / "tfds", file_format="array_record", **kwargs)
        with contextlib.redirect_stdout(io.StringIO()):
            made.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
        parts = {part: made.as_data_source(part) for part in made.info.splits}
        return {part: [records[i] for i in range(len(records))] for part, records in parts.items()}

    return prepare
