"""docs/data.md: its schema and its study run as printed, and its table of keys is complete."""

import gzip
import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest

import run
from mtl.data import load
from mtl.data.folder_schema import IdField, NumberField, Splitting
from mtl.train import InputTime

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "data.md"
TEXT = PAGE.read_text()


def block(language):
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)
    return found


@pytest.fixture(autouse=True)
def _restored():
    """Takes back the signal handlers of studies."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder with the columns of the page's schema, as two CSV files; the page's study lies beside it."""
    rng = np.random.default_rng(0)
    lines = []
    for row in range(1200):
        clicked = rng.random() < 0.5
        seen = "|".join(f"i{i}" for i in rng.integers(0, 40, rng.integers(0, 5)))
        bought = int(clicked and rng.random() < 0.5)
        minutes = f"{rng.gamma(2, 1):.2f}" if clicked else ""
        moment = f"2024-05-{1 + row // 100:02d} 12:{row % 60:02d}:00"
        user, item, price = f"u{rng.integers(0, 50)}", f"i{rng.integers(0, 40)}", f"{rng.gamma(2, 9):.2f}"
        lines.append(f"{user},{item},{seen},{price},{int(clicked)},{bought},{minutes},{moment}")
    header = "user_id,item_id,last_clicks,price,clicked,bought,minutes,shown_at"
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "a.csv").write_text("\n".join([header, *lines[:700]]) + "\n")
    (folder / "b.csv.gz").write_bytes(gzip.compress("\n".join([header, *lines[700:]]).encode()))
    (folder / "schema.toml").write_text(block("toml"))
    (tmp_path / "my_shop.py").write_text(block("python"))
    monkeypatch.chdir(tmp_path)
    return folder


SHORT = (
    *("--config=my_shop.py", "--data_dir=data", "--config.seeds=1", "--config.report.baseline="),
    *("--config.models=('shared_bottom',)", "--config.weightings=('static',)"),
    *("--config.train.steps=8", "--config.train.eval_every=4"),
)


def test_the_study_of_the_page_trains_on_the_folder_of_the_page(shop, tmp_path):
    assert run.main(["run.py", *SHORT, "--workdir=held"]) == 0
    rows = (tmp_path / "held" / "results.csv").read_text().splitlines()
    assert {line.split(",")[7] for line in rows[1:]} == {"click", "purchase", "minutes"}
    assert not list((tmp_path / "held").glob("checkpoints/*/input.json"))


def test_the_same_folder_streams(shop, tmp_path):
    study = (tmp_path / "my_shop.py").read_text()
    assert '"path": "shop"' in study
    (tmp_path / "my_shop.py").write_text(
        study.replace('"path": "shop"', '"path": "shop", "in_memory": False')
    )
    assert run.main(["run.py", *SHORT, "--workdir=streamed"]) == 0
    told = [json.loads(p.read_text()) for p in (tmp_path / "streamed").glob("checkpoints/*/input.json")]
    assert len(told) == 1
    assert all(f"`{key}`" in TEXT for key in told[0])


def test_the_schema_of_the_page_means_what_the_page_says(shop):
    found = load("folder", path="shop", data_dir="data")
    assert found.name == "shop"
    names = [column.name for column in found.schema.id_columns]
    assert names == ["user_id", "item", "history_1", "history_2", "history_3"]
    assert [column.vocab_size for column in found.schema.id_columns[1:]] == [1001] * 4
    sizes = {split: len(columns["labels"]) for split, columns in found.splits.items()}
    assert abs(sizes["test"] - 120) < 5
    assert abs(sizes["val"] - 120) < 5
    assert [task.requires for task in found.schema.tasks] == [(), ("click",), ()]


def test_the_table_names_every_key():
    (table,) = re.findall(r"^### Keys\n(.*?)^What was learned", TEXT, re.M | re.S)
    named = set(re.findall(r"[`\s](\w+)", table))
    wanted = {*IdField._fields, *NumberField._fields, *Splitting._fields}
    assert wanted | {"kind", "num_classes", "mask", "parents", "requires", "loss", "files"} <= named


def test_the_table_of_the_input_names_every_key():
    assert {*InputTime._fields, "wait_share", "examples_per_second"} <= set(re.findall(r"`(\w+)`", TEXT))
