"""Folders of tables with a schema file: all kinds of files and of splits, and every mistake in one line."""

import contextlib
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from mtl.data import encode, load, shards
from mtl.data import folder_files as tables
from mtl.data.blocks import BlockWriter
from mtl.data.hashing import bucket_ids, stable_hashes, vocabulary_ids
from mtl.errors import InputError

ROWS = 400
SCHEMA = """
[[ids]]
column = "user"
role = "user"
min_count = 2

[[ids]]
name = "item"
column = "item_id"
role = "item"
buckets = 50

[[ids]]
name = "history"
column = "seen"
length = 3
table = "item"

[[ids]]
column = "tags"
length = 2

[[numeric]]
column = "price"
transform = "log1p"

[[numeric]]
column = "age"

[[numeric]]
column = "flag"
transform = "none"

[[tasks]]
name = "click"
column = "clicked"

[[tasks]]
name = "buy"
column = "bought"
requires = ["click"]

[[tasks]]
name = "minutes"
column = "minutes"
kind = "regression"
mask = "clicked"
loss = { name = "huber", delta = 2.0 }
"""
BY_COLUMN = """
[split]
by = "column"
column = "part"
train = ["a", "b"]
val = "c"
test = "d"
"""
ARGUMENTS = {"in_memory": True}


def table(rows=ROWS, seed=0):
    """The raw columns, with the lists as lists."""
    rng = np.random.default_rng(seed)
    clicked = rng.random(rows) < 0.5
    return {
        "user": [f"u{i}" for i in rng.integers(0, 60, rows)],
        "item_id": rng.integers(0, 30, rows).tolist(),
        "seen": [rng.integers(0, 30, n).tolist() for n in rng.integers(0, 6, rows)],
        "tags": [[["red", "blau", "grün"][i] for i in row] for row in rng.integers(0, 3, (rows, 2))],
        "price": rng.gamma(2, 10, rows).round(3).tolist(),
        "age": [None if i % 10 == 3 else float(i % 50) for i in range(rows)],
        "flag": (rng.random(rows) < 0.5).tolist(),
        "clicked": clicked.astype(int).tolist(),
        "bought": (clicked & (rng.random(rows) < 0.5)).astype(int).tolist(),
        "minutes": [float(m) if c else None for m, c in zip(rng.gamma(2, 1, rows).round(3), clicked)],
        "part": [["a", "b", "a", "c", "d"][i % 5] for i in range(rows)],
        "time": np.arange(rows)[::-1].tolist(),
    }


def cut(columns, start, stop):
    return {name: values[start:stop] for name, values in columns.items()}


def write_csv(path, columns, delimiter=","):
    cells = {
        name: ["|".join(map(str, v)) if isinstance(v, list) else v for v in values]
        for name, values in columns.items()
    }
    lines = [delimiter.join(cells)]
    for row in zip(*cells.values()):
        lines.append(delimiter.join("" if v is None else str(v) for v in row))
    text = ("\n".join(lines) + "\n").encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


def write_table(path, columns):
    made = pa.table({name: pa.array(values) for name, values in columns.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(made, path, row_group_size=70)
    else:
        with pa.ipc.new_file(str(path), made.schema) as writer:
            writer.write_table(made, max_chunksize=90)


@pytest.fixture
def shop(tmp_path):
    """Returns a function that writes a folder and loads it."""
    root = tmp_path / "shop"

    def make(schema=SCHEMA + BY_COLUMN, columns=None, kind="csv", **arguments):
        root.mkdir(exist_ok=True)
        columns = table() if columns is None else columns
        if columns:
            (write_csv if "csv" in kind else write_table)(root / f"rows.{kind}", columns)
        (root / "schema.toml").write_text(schema)
        return load("folder", path=str(root), **{"data_dir": tmp_path / "data", **ARGUMENTS, **arguments})

    make.root, make.data = root, tmp_path / "data"
    return make


def equal(one, other):
    assert one.schema == other.schema
    for split in one.splits:
        for group, column in one.splits[split].items():
            np.testing.assert_array_equal(column, other.splits[split][group], err_msg=f"{split} {group}")


# ---- what becomes of columns --------------------------------------------------------------------------


def test_columns_are_encoded_by_what_train_holds(shop):
    found, raw = shop(), table()
    part = np.array(raw["part"])
    rows = {"train": np.isin(part, ["a", "b"]), "val": part == "c", "test": part == "d"}
    assert [c.name for c in found.schema.id_columns] == [
        *("user", "item", "history_1", "history_2", "history_3", "tags_1", "tags_2")
    ]
    users = np.array(raw["user"])
    distinct, counts = np.unique(users[rows["train"]], return_counts=True)
    known = set(distinct[counts >= 2])
    assert found.schema.id_columns[0].vocab_size == len(known) + 1
    of_user = {}
    for split, chosen in rows.items():
        columns = found.splits[split]
        for user, number in zip(users[chosen], columns["ids"][:, 0]):
            assert (number > 0) == (user in known)
            assert of_user.setdefault(user, number) == number
        prices = np.log1p(np.array(raw["price"]))
        expected = (prices[chosen] - prices[rows["train"]].mean()) / prices[rows["train"]].std()
        np.testing.assert_allclose(columns["numeric"][:, 0], expected, rtol=1e-5, atol=1e-6)
        ages = np.array(raw["age"], float)
        expected = (ages[chosen] - np.nanmean(ages[rows["train"]])) / np.nanstd(ages[rows["train"]])
        np.testing.assert_allclose(columns["numeric"][:, 1], np.nan_to_num(expected), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(columns["numeric"][:, 2], np.array(raw["flag"])[chosen])
        np.testing.assert_array_equal(columns["labels"][:, 0], np.array(raw["clicked"])[chosen])
        np.testing.assert_array_equal(columns["mask"][:, 2], np.array(raw["clicked"])[chosen] == 1)
        assert columns["mask"][:, :2].all()
        minutes = np.nan_to_num(np.array(raw["minutes"], float))[chosen]
        np.testing.assert_allclose(columns["labels"][:, 2], minutes, rtol=1e-6)
    assert len(set(of_user.values()) - {0}) == len(known)


def test_a_list_shares_the_ids_of_its_table_and_is_padded(shop):
    found, raw = shop(), table()
    rows = np.flatnonzero(np.isin(raw["part"], ["a", "b"]))
    ids = found.splits["train"]["ids"]
    of_item = {str(raw["item_id"][row]): number for row, number in zip(rows, ids[:, 1])}
    assert 0 not in of_item.values()
    for row, history in zip(rows, ids[:, 2:5]):
        expected = [of_item.get(str(item)) for item in raw["seen"][row][:3]]
        expected += [0] * (3 - len(expected))
        assert all(e in (None, n) for e, n in zip(expected, history)), (expected, history)
    columns = found.schema.id_columns
    assert [c.table for c in columns] == ["", "", "item", "item", "item", "", "tags_1"]
    assert [c.sequence for c in columns] == ["", "", "history", "history", "history", "tags", "tags"]
    assert columns[5].vocab_size == 4


def test_tasks_are_those_of_the_schema(shop):
    click, buy, minutes = shop().schema.tasks
    assert (click.kind, click.parents) == ("binary", ())
    assert (buy.parents, buy.requires) == (("click",), ("click",))
    assert (minutes.kind, minutes.loss, minutes.loss_arguments) == ("regression", "huber", (("delta", 2.0),))


@pytest.mark.parametrize("kind", ["csv.gz", "parquet", "arrow"])
def test_all_kinds_of_files_give_the_same(shop, tmp_path, kind):
    expected = shop()
    (shop.root / "rows.csv").unlink()
    equal(shop(kind=kind), expected)


def test_several_files_in_sub_folders_with_another_delimiter(shop):
    expected = shop()
    (shop.root / "rows.csv").unlink()
    columns = table()
    write_csv(shop.root / "one" / "a.csv", cut(columns, 0, 150), ";")
    write_csv(shop.root / "two" / "b.csv.gz", cut(columns, 150, ROWS), ";")
    equal(shop('delimiter = ";"\n' + SCHEMA + BY_COLUMN, columns={}), expected)


def test_dictionaries_large_text_and_other_types_are_read(tmp_path):
    columns = {
        "d": pa.array(["x", None, "y"]).dictionary_encode(),
        "l": pa.array(["x", None, "y"], pa.large_string()),
        "b": pa.array([True, None, False]),
        "m": pa.array([1, None, 3], pa.decimal128(5, 2)),
        "n": pa.nulls(3),
        "v": pa.array([["x"], None, ["y", ""]], pa.large_list(pa.string())),
    }
    batch = tables.Batch(tmp_path, 0, pa.record_batch(columns), 1.0)
    text = stable_hashes(pa.array(["x", None, "y"]))
    np.testing.assert_array_equal(tables.hashed(batch, "d"), text)
    np.testing.assert_array_equal(tables.hashed(batch, "l"), text)
    np.testing.assert_array_equal(tables.hashed(batch, "n"), [0, 0, 0])
    np.testing.assert_array_equal(
        tables.hashed_lists(batch, "v", 2, "|"), np.stack([text, [0, 0, 0]], axis=1)
    )
    np.testing.assert_array_equal(tables.hashed_lists(batch, "n", 2, "|"), np.zeros((3, 2)))
    np.testing.assert_array_equal(tables.numbers(batch, "b"), [1, np.nan, 0])
    np.testing.assert_array_equal(tables.numbers(batch, "m"), [1, np.nan, 3])
    np.testing.assert_array_equal(tables.numbers(batch, "n"), [np.nan] * 3)


def test_hashes_are_of_the_text_and_the_same_everywhere():
    assert stable_hashes(pa.array(["a", "foobar"])).tolist() == [0xAF63DC4C8601EC8C, 0x85944171F73967E8]
    numbers = stable_hashes(pa.array([7, 70, None]))
    np.testing.assert_array_equal(numbers, stable_hashes(pa.array(["7", "70", None])))
    assert stable_hashes(pa.array([], pa.string())).shape == (0,)
    many = stable_hashes(pa.array(range(100_000)))
    assert len(np.unique(many)) == 100_000
    ids = bucket_ids(many, 10)
    assert (ids.min(), ids.max()) == (1, 10)
    counts = np.bincount(ids)[1:]
    assert abs(counts - 10_000).max() < 5 * 100
    assert bucket_ids(numbers, 5)[2] == 0
    np.testing.assert_array_equal(stable_hashes(pa.array([7.0, 70.0, None])), numbers)
    with pytest.raises(TypeError, match="double values that are not whole"):
        stable_hashes(pa.array([1.5]))


def test_kept_vocabularies_find_the_ids_of_training(shop):
    found, raw = shop(), table()
    (path,) = shop.data.rglob("vocabulary.user.npy")
    rows = np.flatnonzero(np.isin(raw["part"], ["a", "b"]))
    ids = vocabulary_ids(stable_hashes(pa.array([raw["user"][row] for row in rows])), np.load(path))
    np.testing.assert_array_equal(ids, found.splits["train"]["ids"][:, 0])


# ---- splits -------------------------------------------------------------------------------------------


def sizes(dataset):
    return {split: len(columns["labels"]) for split, columns in dataset.splits.items()}


def test_the_latest_rows_are_test(shop):
    split = '[split]\nby = "time"\ncolumn = "time"\nval = 0.1\ntest = 0.2\n'
    found = shop(SCHEMA + split)
    assert sizes(found) == {"train": 280, "val": 40, "test": 80}
    # Times fall: the first rows of the file are the latest.
    np.testing.assert_array_equal(found.splits["test"]["labels"][:, 0], table()["clicked"][:80])
    columns = table()
    columns["time"] = [f"2024-01-01 00:{t // 60:02d}:{t % 60:02d}" for t in columns["time"]]
    equal(shop(SCHEMA + split, columns), found)
    columns["time"] = [np.datetime64(t) for t in columns["time"]]
    (shop.root / "rows.csv").unlink()
    equal(shop(SCHEMA + split, columns, kind="parquet"), found)


def test_rows_are_drawn_by_a_seed(shop):
    def split(seed, more=""):
        return SCHEMA + f'[split]\nby = "fraction"\nval = 0.25\ntest = 0.25\nseed = {seed}\n{more}'

    found = shop(split(0))
    assert abs(sizes(found)["val"] - 100) < 45
    assert abs(sizes(found)["test"] - 100) < 45
    assert sizes(shop(split(1))) != sizes(found)
    by_user = shop(split(0, 'column = "user"'))
    groups = [set(np.unique(c["ids"][:, 0])) - {0} for c in by_user.splits.values()]
    assert groups[0]
    assert not groups[1] | groups[2]  # users of val and test are unseen


def test_files_and_sub_folders_are_splits(shop):
    columns = table()
    write_csv(shop.root / "train" / "a.csv", cut(columns, 0, 300))
    write_csv(shop.root / "val.csv", cut(columns, 300, 350))
    write_csv(shop.root / "later" / "t.csv", cut(columns, 350, 400))
    split = '[split]\nby = "files"\ntrain = "train"\nval = "val.csv"\ntest = ["later/*"]\n'
    found = shop(SCHEMA + split, columns={})
    assert sizes(found) == {"train": 300, "val": 50, "test": 50}
    write_csv(shop.root / "other.csv", cut(columns, 0, 10))
    assert sizes(shop(SCHEMA + split, columns={})) == sizes(found)  # is no file of a split
    with pytest.raises(InputError, match=r"belongs to train and val of .*expected one"):
        shop(SCHEMA + split.replace('"train"\nval = "val.csv"', '"train"\nval = "train"'), columns={})
    with pytest.raises(InputError, match=r"\[split\] val: no file below"):
        shop(SCHEMA + split.replace('"val.csv"', '"none.csv"'), columns={})


# ---- prepared once, in memory or from disk ------------------------------------------------------------


def test_a_set_is_prepared_once_and_again_when_something_changes(shop, monkeypatch):
    first = shop()
    with monkeypatch.context() as patched:
        patched.setattr(tables, "read_batches", None)  # nothing is read again
        equal(shop_again(shop), first)
    (shop.root / "schema.toml").write_text((SCHEMA + BY_COLUMN).replace("min_count = 2", "min_count = 1"))
    assert shop_again(shop).schema != first.schema
    assert len(list((shop.data / "folder").iterdir())) == 2
    write_csv(shop.root / "more.csv", cut(table(), 0, 5))
    assert sizes(shop_again(shop))["train"] == sizes(first)["train"] + 3


def shop_again(shop, data_dir=None):
    return load("folder", path=str(shop.root), data_dir=data_dir or shop.data, **ARGUMENTS)


def test_a_split_streams_when_asked_and_holds_the_same_rows(shop):
    held = shop()
    streamed = shop(in_memory=False)
    assert held.stream is None
    assert streamed.stream.rows == len(held.splits["train"]["labels"])
    assert shop(in_memory=None).stream is None  # it is small
    assert streamed.provenance["rows"] == {"train": 240, "val": 80, "test": 80}
    assert streamed.provenance["label_rates"]["train"]["click"] == pytest.approx(
        held.splits["train"]["labels"][:, 0].mean()
    )
    assert sizes(shop(max_eval_rows=30))["val"] == 30
    json.dumps(streamed.provenance)


def test_batches_of_any_size_give_the_same(shop, monkeypatch):
    expected = shop()
    monkeypatch.setattr(tables, "BATCH_ROWS", 7)
    (prepared,) = (shop.data / "folder").iterdir()
    prepared.rename(shop.data / "before")
    equal(shop(), expected)


# ---- preparations that are stopped --------------------------------------------------------------------

BY_TIME = '[split]\nby = "time"\ncolumn = "time"\nval = 0.3\ntest = 0.2\n'
SMALL = {"rows_per_block": 8, "blocks_per_file": 3}


class Stops:
    """Stops preparations: raises at some of the moments at which a file is read, written or renamed."""

    def __init__(self, monkeypatch):
        self.moments, self.at = 0, 0
        for where, name in ((tables, "hashed"), (BlockWriter, "_write_block"), (Path, "replace")):
            monkeypatch.setattr(where, name, self.around(getattr(where, name)))

    def around(self, function):
        def stopping(*arguments):
            self.moment()
            found = function(*arguments)
            self.moment()
            return found

        return stopping

    def moment(self):
        self.moments += 1
        if self.moments == self.at:
            raise KeyboardInterrupt

    def after(self, moments):
        self.moments, self.at = 0, moments


@pytest.fixture
def bit_by_bit(shop, monkeypatch):
    """The shop in two files, small batches and blocks, and marks after every chunk."""
    monkeypatch.setattr(tables, "BATCH_ROWS", 23)
    monkeypatch.setattr(shards, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(shards, "write_shards", partial(shards.write_shards, **SMALL))
    write_csv(shop.root / "sub" / "more.csv", cut(table(seed=1), 0, 90))
    return shop


def files_of(data):
    (prepared,) = (data / "folder").iterdir()
    return {path.name: path.read_bytes() for path in prepared.iterdir() if path.name != "lock"}


@pytest.mark.parametrize("split", [BY_COLUMN, BY_TIME], ids=["column", "time"])
def test_a_stopped_preparation_goes_on(bit_by_bit, monkeypatch, tmp_path, split):
    stops = Stops(monkeypatch)
    bit_by_bit(SCHEMA + split, data_dir=tmp_path / "undisturbed")
    expected, moments = files_of(tmp_path / "undisturbed"), stops.moments
    assert len(expected) > 20
    for at in np.linspace(1, moments, 7).astype(int):
        stops.after(at)
        with pytest.raises(KeyboardInterrupt):
            shop_again(bit_by_bit)
        assert [p.suffix for p in (bit_by_bit.data / "folder").iterdir()] in ([".incomplete"], [""])
        stops.after(40)  # a second time, soon after it has gone on
        with contextlib.suppress(KeyboardInterrupt):
            shop_again(bit_by_bit)
        stops.after(0)
        shop_again(bit_by_bit)
        assert files_of(bit_by_bit.data) == expected
        shutil.rmtree(bit_by_bit.data)


def test_what_is_learned_and_written_is_not_made_again(bit_by_bit, monkeypatch, capsys):
    stops = Stops(monkeypatch)
    bit_by_bit()
    moments = stops.moments
    shutil.rmtree(bit_by_bit.data)
    stops.after(moments - 20)
    with pytest.raises(KeyboardInterrupt):
        shop_again(bit_by_bit)
    capsys.readouterr()
    monkeypatch.setattr(encode, "Counts", None)
    stops.after(0)
    shop_again(bit_by_bit)
    assert stops.moments < moments / 3
    first, second = capsys.readouterr().err.splitlines()
    assert first == "folder: goes on with a preparation that was stopped"
    assert re.fullmatch(r"folder: 4\d\d rows are written already", second)


@pytest.mark.parametrize("harm", ["input", "mark", "block", "file"])
def test_what_does_not_fit_is_made_anew(bit_by_bit, monkeypatch, tmp_path, harm):
    stops = Stops(monkeypatch)
    bit_by_bit(data_dir=tmp_path / "undisturbed")
    stops.after(stops.moments - 70)
    with pytest.raises(KeyboardInterrupt):
        shop_again(bit_by_bit)
    stops.after(0)
    (left,) = (bit_by_bit.data / "folder").iterdir()
    if harm == "input":
        write_csv(bit_by_bit.root / "sub" / "more.csv", cut(table(seed=2), 0, 90))
        shutil.rmtree(tmp_path / "undisturbed")
        shop_again(bit_by_bit, data_dir=tmp_path / "undisturbed")
    else:
        name = {"mark": "written.npz", "block": "train.incomplete", "file": "train.000000.arrow"}[harm]
        content = (left / name).read_bytes()
        half = len(content) // 2
        (left / name).write_bytes(content[:half])
    shop_again(bit_by_bit)
    if harm == "input":
        shutil.rmtree(left)
    assert files_of(bit_by_bit.data) == files_of(tmp_path / "undisturbed")


KILLED = """
import os, signal, sys
from functools import partial
from mtl.data import folder_files, load, shards
from mtl.data.blocks import BlockWriter

def end_file(writer):
    end(writer)
    if len(writer._files) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

end, BlockWriter._end_file = BlockWriter._end_file, end_file
folder_files.BATCH_ROWS, shards.SAVE_SECONDS = 23, 0.0
shards.write_shards = partial(shards.write_shards, rows_per_block=8, blocks_per_file=3)
load("folder", path=sys.argv[1], data_dir=sys.argv[2])
"""


def test_a_killed_preparation_goes_on(bit_by_bit, tmp_path, capsys):
    bit_by_bit(data_dir=tmp_path / "undisturbed")
    command = [sys.executable, "-c", KILLED, str(bit_by_bit.root), str(bit_by_bit.data)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    shop_again(bit_by_bit)
    assert "goes on with a preparation that was stopped" in capsys.readouterr().err
    assert files_of(bit_by_bit.data) == files_of(tmp_path / "undisturbed")


# ---- mistakes -----------------------------------------------------------------------------------------


def changed(**cells):
    columns = table()
    for name, (row, value) in cells.items():
        columns[name][row] = value
    return columns


@pytest.mark.parametrize(
    "columns, message",
    [
        (changed(price=(7, "cheap")), r"rows\.csv, row 8, column 'price': is 'cheap', expected a number"),
        (
            changed(price=(7, -1.0)),
            r"rows\.csv, row 8, column 'price': is -1.0, expected a finite number above",
        ),
        (changed(age=(9, "inf")), r"rows\.csv, row 10, column 'age': is inf, expected a finite number"),
        (
            changed(clicked=(0, None)),
            r"rows\.csv, row 1, column 'clicked': is missing, expected a label or a",
        ),
        (changed(clicked=(0, 2)), r"rows\.csv, row 1, column 'clicked': is 2.0, expected 0 or 1"),
        (changed(bought=(4, 3)), r"rows\.csv: row 5, label 'buy' is 3.0, expected one of 0 … 1"),
        (changed(clicked=(4, 0), bought=(4, 1)), r"row 5: 'buy' is 1 but 'click', which it requires, is 0"),
        (
            changed(clicked=(6, 1), minutes=(6, None)),
            r"row 7, column 'minutes': is missing, .* where 'clicked'",
        ),
        (changed(part=(3, "z")), r"row 4, column 'part': is 'z', expected one of a, b, c, d"),
        (
            {k: v for k, v in table().items() if k != "age"},
            r"rows\.csv: has no column 'age'; its columns are",
        ),
        (cut(table(), 0, 4), "no row for split 'test'"),
        (cut(table(), 0, 0), "no row for split 'train'"),
    ],
)
def test_a_wrong_cell_is_one_line_with_file_column_and_row(shop, columns, message):
    with pytest.raises(InputError, match=message) as caught:
        shop(columns=columns)
    assert "\n" not in str(caught.value)
    assert list((shop.data / "folder").iterdir()) == []


def test_rows_are_counted_in_every_file_and_batch(shop, monkeypatch):
    monkeypatch.setattr(tables, "BATCH_ROWS", 16)
    write_csv(shop.root / "zz.csv", cut(changed(price=(70, "x")), 0, 100))
    with pytest.raises(InputError, match=r"zz\.csv, row 71, column 'price': is 'x'"):
        shop()


def test_columns_of_a_wrong_type_are_named(shop):
    columns = table()
    columns["item_id"] = [i + 0.5 for i in columns["item_id"]]
    with pytest.raises(InputError, match=r"rows\.parquet, column 'item_id': holds double, expected text or"):
        shop(columns=columns, kind="parquet")
    columns = table() | {"price": [[1.0]] * ROWS}
    with pytest.raises(InputError, match=r"rows\.parquet, column 'price': holds list.*, expected numbers"):
        shop(columns=columns, kind="parquet")
    columns = table() | {"seen": list(range(ROWS))}
    with pytest.raises(
        InputError, match=r"rows\.parquet, column 'seen': holds int64, expected lists, or text"
    ):
        shop(columns=columns, kind="parquet")


def test_damaged_files_are_named(shop):
    (shop.root).mkdir()
    for name, content in (
        ("a.csv", b"user,x\n1\n2,3,4\n"),
        ("b.parquet", b"PAR1 no"),
        ("c.csv.gz", gzip.compress(b"x" * 10_000)[:40]),
        ("d.arrow", b""),
    ):
        path = shop.root / name
        path.write_bytes(content)
        with pytest.raises(InputError, match=re.escape(name)) as caught:
            shop(columns={})
        assert "\n" not in str(caught.value)
        path.unlink()


def test_a_malformed_row_is_named(shop):
    shop.root.mkdir()
    write_csv(shop.root / "rows.csv", table())
    with (shop.root / "rows.csv").open("a") as file:
        file.write("1,2\n")
    with pytest.raises(InputError, match=r"rows\.csv: cannot be read after row .*Expected 12 columns, got 2"):
        shop(columns={})


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("min_count = 2", "min_cout = 2", r"unknown key in \[\[ids\]\] number 1: 'min_cout' \(did you mean"),
        ("min_count = 2", "min_count = 0", r"\[\[ids\]\] 'user': min_count is 0, expected at least 1"),
        ("min_count = 2", "min_count = true", r"min_count is True, expected int"),
        ("min_count = 2", "min_count = 2\nbuckets = 3", "has both buckets and min_count"),
        ("buckets = 50", 'buckets = "x"', "buckets is 'x', expected int"),
        ('table = "item"', 'table = "itme"', "table 'itme' is no earlier"),
        ('table = "item"', 'table = "item"\nbuckets = 2', "has a table, and buckets"),
        ('role = "user"', 'role = "usr"', r"unknown role of \[\[ids\]\] 'user': 'usr'"),
        ('column = "user"', "", r"\[\[ids\]\] number 1: has no key 'column'"),
        ('name = "item"', 'name = "user"', "names 'user' twice"),
        ('"log1p"', '"log"', "unknown transform of .*'price': 'log'"),
        ('kind = "regression"', 'kind = "regresion"', "kind 'regresion' is not one of"),
        ('kind = "regression"', 'kind = "multiclass"', "is multiclass and has no num_classes"),
        ('"huber"', '"hubert"', "unknown loss of regression task 'minutes': 'hubert'"),
        ('["click"]', '["clik"]', "parent 'clik' is not a task"),
        ('by = "column"', 'by = "colum"', "unknown split.by 'colum'"),
        ('val = "c"', "", r"\[split\]: has no key 'val'"),
        ('by = "column"', 'by = "fraction"', r"unknown key in \[split\]: 'train'"),
        ('column = "part"', 'column = "prat"', r"rows\.csv: has no column 'prat'"),
        ("[split]", "[split", "is not TOML"),
        ("[[ids]]", 'name = "a/b"\n[[ids]]', "name is 'a/b', expected one without"),
        ("[[tasks]]", "[[task]]", "unknown key in the file: 'task'"),
    ],
)
def test_a_wrong_schema_is_one_line(shop, old, new, message):
    schema = SCHEMA + BY_COLUMN
    assert old in schema
    with pytest.raises(InputError, match=message) as caught:
        shop(schema.replace(old, new, 1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "split, message",
    [
        ('by = "fraction"\nval = 0.5\ntest = 0.5', "split.val and split.test are 0.5 and 0.5"),
        ('by = "fraction"\nval = 0\ntest = 0.5', "split.val and split.test are 0 and 0.5"),
        ('by = "fraction"\nval = 0.1\ntest = 0.1\nseed = -1', "split.seed is -1"),
        ('by = "time"\nval = 0.1\ntest = 0.1', "has no key 'column'"),
        (
            'by = "time"\nval = 0.1\ntest = 0.1\ncolumn = "user"',
            "column 'user': .*expected numbers, or dates",
        ),
        (
            'by = "time"\nval = 0.1\ntest = 0.1\ncolumn = "age"',
            "row 4, column 'age': is missing, expected a time",
        ),
        ('by = "column"\ncolumn = "part"\ntrain = []\nval = "c"\ntest = "d"', "split.train is empty"),
    ],
)
def test_a_wrong_split_is_one_line(shop, split, message):
    with pytest.raises(InputError, match=message):
        shop(SCHEMA + "[split]\n" + split)


def test_wrong_arguments_are_one_line(tmp_path, shop):
    shop()
    for arguments, message in (
        ({"path": ""}, "needs path="),
        ({"path": str(tmp_path / "none"), "schema": str(shop.root / "schema.toml")}, "is not a folder"),
        ({"path": str(tmp_path)}, r"schema\.toml: cannot be read"),
        ({"path": str(shop.root), "schema": "none.toml"}, r"none\.toml: cannot be read"),
        ({"path": str(shop.root), "in_memory": 1}, "in_memory is 1, expected True or False"),
        ({"path": str(shop.root), "window_rows": 0}, "window_rows is 0, expected an integer >= 1"),
        ({"path": 3}, "path is 3, expected a path"),
    ):
        with pytest.raises(InputError, match=message):
            load("folder", data_dir=tmp_path / "data", **arguments)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"holds no file of \.csv, \.csv\.gz, \.parquet"):
        load("folder", path=str(empty), schema=str(shop.root / "schema.toml"))


def test_what_needs_all_rows_in_memory_says_so(shop):
    from mtl.data import downsample_negatives, reweight

    streamed = shop(in_memory=False)
    with pytest.raises(InputError, match=r"downsample_negatives changes all training rows, .*in_memory=True"):
        downsample_negatives(streamed, "click", 0.5)
    with pytest.raises(InputError, match="reweight changes all training rows"):
        reweight(streamed, "click", {"buy": 3.0})


def test_the_folder_may_lie_anywhere(shop, monkeypatch):
    first = shop()
    monkeypatch.chdir(shop.root.parent)
    equal(load("folder", path=Path("shop"), data_dir=shop.data, in_memory=True), first)
