"""Broken data sets and raw files: one line that names the place, exit code 2, and nothing left behind."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import mtl.data
from mtl.data import Dataset, Schema
from mtl.tasks import Task
from third_party.census_income_kdd.columns import COLUMNS

ROOT = Path(__file__).parents[2]


def broken_dataset(change):
    """A loader of a small data set with one array changed."""

    def load(rows: int = 32):
        draw = np.random.default_rng(0)
        splits = {
            split: {
                "ids": np.zeros((rows, 0), np.int32),
                "numeric": draw.normal(size=(rows, 2)).astype(np.float32),
                "labels": draw.integers(0, 2, (rows, 2)).astype(np.float32),
            }
            for split in ("train", "val", "test")
        }
        tasks = (Task("click"), Task("buy"))
        change(splits)
        return Dataset("own", Schema((), ("height", "width"), tasks), splits, {})

    return load


def nan_in_a_column(splits):
    splits["train"]["numeric"][3, 1] = np.nan


def label_of_two(splits):
    splits["val"]["labels"][5, 0] = 2


def empty_split(splits):
    splits["test"] = {k: v[:0] for k, v in splits["test"].items()}


BROKEN = {
    nan_in_a_column: "split 'train': row 3, column 'width' is nan, expected a finite number",
    label_of_two: "split 'val': row 5, label 'click' is 2.0, expected one of 0 … 1",
    empty_split: "split 'test': is empty",
}


@pytest.mark.parametrize("change, expected", BROKEN.items(), ids=lambda v: getattr(v, "__name__", ""))
def test_a_broken_data_set(refused, tmp_path, monkeypatch, change, expected):
    monkeypatch.setitem(mtl.data.DATASETS, "own", broken_dataset(change))
    path = tmp_path / "own.py"
    path.write_text(
        "from mtl.sweep import study_config\n\ndef get_config():\n"
        "    return study_config('own', {'name': 'own'}, ('mmoe',), ('static',))\n"
    )
    assert expected in refused(f"--config={path}")


def census_line(**cells):
    row = dict.fromkeys(COLUMNS, "Not in universe")
    quantities = (
        *("age", "wage_per_hour", "capital_gains", "capital_losses", "stock_dividends", "num_emp"),
        *("weeks_worked", "instance_weight", "det_ind_code", "det_occ_code", "own_or_self", "vet_benefits"),
    )
    row |= dict.fromkeys(quantities, "1") | {"year": "94", "education": "Children"}
    row |= {"marital_stat": "Divorced", "income_50k": "- 50000.", **cells}
    return ", ".join(row[name] for name in COLUMNS)


def cut(content):
    return content[: len(content) // 2]


CENSUS = {
    "age that is no number": ({"age": "forty"}, None, "line 2, column 'age': 'forty' is not a finite number"),
    "label of neither value": ({"income_50k": "1"}, None, "column 'income_50k': '1' is not a label value"),
    "truncated gzip": ({}, cut, "the file is damaged or truncated"),
}


@pytest.mark.parametrize("cells, damage, expected", CENSUS.values(), ids=CENSUS)
def test_damaged_raw_files(refused, tmp_path, cells, damage, expected):
    manual = tmp_path / "raw"
    manual.mkdir()
    text = "\n".join([census_line(), census_line(**cells), *[census_line()] * 40]) + "\n"
    for part in ("data", "test"):
        content = gzip.compress(text.encode())
        (manual / f"census-income.{part}.gz").write_bytes(damage(content) if damage else content)
    study = ROOT / "experiments" / "census.py"
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    (prepared / "census_income_kdd").mkdir()
    message = refused(f"--config={study}", f"--manual_dir={manual}", f"--data_dir={prepared}")
    assert expected in message
    assert str(manual / "census-income.data.gz") in message


def test_no_raw_files(refused, tmp_path, monkeypatch):
    def no_network(folder):
        raise OSError("name or service not known")

    monkeypatch.setattr("third_party.census_income_kdd.fetch", no_network)
    (tmp_path / "raw").mkdir()
    (tmp_path / "prepared" / "census_income_kdd").mkdir(parents=True)
    message = refused(
        f"--config={ROOT / 'experiments' / 'census.py'}",
        f"--manual_dir={tmp_path / 'raw'}",
        f"--data_dir={tmp_path / 'prepared'}",
    )
    assert "census-income.data.gz and census-income.test.gz" in message
    assert "manual_dir" in message
    assert "archive.ics.uci.edu" in message
