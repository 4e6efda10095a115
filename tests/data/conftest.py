"""A tiny Census-Income (KDD) in the published layout."""

import gzip

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
    if "real_files" not in request.fixturenames:
        monkeypatch.delenv("MTL_MANUAL_DIR", raising=False)
    monkeypatch.delenv("MTL_DATA_DIR", raising=False)
