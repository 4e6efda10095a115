"""Sets on disk: the funnel in shards, what is loaded of a set, and damage that is found when it is opened."""

import io
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mtl.data import IdColumn, Schema, funnel_synthetic, load
from mtl.data import funnel as funnel_module
from mtl.data.shards import Contents, dataset_of, open_shards, residence, sharded, write_shards
from mtl.errors import InputError
from mtl.tasks import Task

FUNNEL = {
    **{"click_rate": 0.3, "conversion_rate": 0.2, "dim": 3, "num_users": 20, "num_items": 10},
    **{"num_train": 5000, "num_val": 400, "num_test": 300},
}
SCHEMA = Schema((IdColumn("a", 100),), ("x",), (Task("y"), Task("z", "regression")))


def rows(number, mask=None):
    """Rows with a number as id."""
    number = np.asarray(number)
    columns = {
        "ids": number[:, None].astype(np.int32),
        "numeric": (number[:, None] / 10).astype(np.float32),
        "labels": np.stack([number % 2, number], axis=1).astype(np.float32),
    }
    return columns if mask is None else {**columns, "mask": np.tile(mask, (len(number), 1))}


def chunks(**sizes):
    return [(split, rows(np.arange(size))) for split, size in sizes.items()]


def after(made):
    return lambda done: made[done:]


def prepared(folder, made, **options):
    folder.mkdir(exist_ok=True)
    write_shards(folder, "some", Contents(SCHEMA, after(made), {"source": "test"}), **options)
    return open_shards(folder)


# ---- the funnel ---------------------------------------------------------------------------------------


@pytest.fixture
def funnel(tmp_path, monkeypatch):
    """Returns a function that loads the funnel in shards, drawn 1,000 rows at a time."""
    monkeypatch.setattr(funnel_module, "CHUNK_ROWS", 1000)
    return lambda **changes: load("funnel_shards", data_dir=tmp_path, **{**FUNNEL, **changes})


def test_validation_test_and_world_are_those_of_the_funnel_in_memory(funnel):
    found, expected = funnel(), funnel_synthetic(**FUNNEL)
    assert found.schema == expected.schema
    assert found.provenance["intercepts"] == expected.provenance["intercepts"]
    for split in ("val", "test"):
        assert set(found.splits[split]) == set(expected.splits[split])
        for group, column in expected.splits[split].items():
            np.testing.assert_array_equal(found.splits[split][group], column)


def test_training_rows_have_the_law_of_the_funnel_in_memory(funnel):
    found, expected = funnel().splits["train"], funnel_synthetic(**FUNNEL).splits["train"]
    assert set(found) == set(expected)
    clicks, others = found["labels"][:, 0], expected["labels"][:, 0]
    assert abs(clicks.mean() - others.mean()) < 4 * np.sqrt(2 * 0.3 * 0.7 / 5000)
    assert len(np.unique(found["numeric"][:, 0])) > 4990  # chunks are draws of their own
    for users, expected_users in ((found["ids"], expected["ids"]),):
        assert set(users[:, 0]) == set(expected_users[:, 0])
    # The same x moves the click in the same direction.
    slopes = [np.cov(c["numeric"].T, c["labels"][:, 0])[-1, :-1] for c in (found, expected)]
    assert np.corrcoef(*slopes)[0, 1] > 0.9


def test_rows_are_drawn_once_and_depend_on_the_seed(funnel, tmp_path):
    first = funnel(in_memory=False)
    assert first.stream.rows == 5000
    (folder,) = (tmp_path / "funnel_shards").iterdir()
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    held = funnel(in_memory=True)
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    assert held.stream is None
    np.testing.assert_array_equal(first.splits["train"]["ids"], held.splits["train"]["ids"][:16_384])
    other = funnel(seed=1, world_seed=0)
    assert other.provenance["intercepts"] == held.provenance["intercepts"]
    assert not np.array_equal(other.splits["train"]["numeric"], held.splits["train"]["numeric"])


def test_a_funnel_without_an_event_is_refused(funnel):
    with pytest.raises(InputError, match="funnel_shards: no click among the 2 rows of split 'train'"):
        funnel(num_train=2)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"in_memory": "no"}, "in_memory is 'no', expected True or False"),
        ({"window_rows": 0}, "window_rows is 0, expected an integer >= 1"),
        ({"num_train": 1}, "num_train is 1, expected an integer >= 2"),
        ({"relatedness": 2.0}, r"relatedness is 2.0, expected a number in \[-1, 1\]"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(funnel, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        funnel(**arguments)
    assert list(tmp_path.iterdir()) == []


# ---- what is loaded -----------------------------------------------------------------------------------


def test_schema_rows_and_rates_come_back(tmp_path):
    mask = np.array([True, False])
    made = [("train", rows(np.arange(30), mask)), ("train", rows(np.arange(5), ~mask))]
    made += [("val", rows(np.arange(4))), ("test", rows(np.arange(6)))]
    found = prepared(tmp_path / "set", made, rows_per_block=8)
    assert found.schema == SCHEMA
    assert found.facts["rows"] == {"train": 35, "val": 4, "test": 6}
    assert found.facts["label_rates"]["train"] == {"y": 0.5, "z": 2.0}
    assert found.facts["source"] == "test"
    train = dataset_of(found, "some", {}, residence(True, 100, 100)).splits["train"]
    np.testing.assert_array_equal(train["ids"][:, 0], [*range(30), *range(5)])
    np.testing.assert_array_equal(train["mask"][:, 0], [True] * 30 + [False] * 5)


def test_evaluation_reads_blocks_from_all_over_a_large_split(tmp_path):
    found = prepared(tmp_path / "set", chunks(train=10, val=90, test=90), rows_per_block=4)
    dataset = dataset_of(found, "some", {}, residence(None, 100, 20))
    ids = dataset.splits["val"]["ids"][:, 0]
    assert len(ids) == 20
    assert len(np.unique(ids)) == 20
    assert (np.diff(ids) > 0).all()
    assert np.ptp(ids) > 40
    assert dataset.provenance["rows_loaded"] == {"train": 10, "val": 20, "test": 20}
    again = dataset_of(found, "some", {}, residence(None, 100, 20))
    np.testing.assert_array_equal(again.splits["val"]["ids"], dataset.splits["val"]["ids"])


def test_a_set_that_streams_shows_its_first_block(tmp_path):
    found = prepared(tmp_path / "set", chunks(train=50, val=4, test=4), rows_per_block=8)
    dataset = dataset_of(found, "some", {}, residence(False, 20, 20))
    np.testing.assert_array_equal(dataset.splits["train"]["ids"][:, 0], np.arange(8))
    assert (dataset.stream.rows, dataset.stream.size) == (50, 2)


# ---- mistakes and damage ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made, message",
    [
        (chunks(train=4, val=4), "data set 'some': no row for split 'test'"),
        (
            [("train", rows([1])), ("train", rows([1], np.array([True, True])))],
            "split 'train': a chunk has the groups .*, mask, expected ids, numeric, labels as",
        ),
        ([("train", rows([100]))], "split 'train': row 0, column 'a': id 100 is outside"),
        (
            [*chunks(val=2, test=2), ("train", rows([1], np.array([True, False])))],
            "split 'train': task 'z' has no row in its sample space",
        ),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path, made, message):
    with pytest.raises(InputError, match=message):
        prepared(tmp_path / "set", made)


def test_a_set_that_fails_leaves_no_folder(tmp_path):
    folder = tmp_path / "data" / "set"
    with pytest.raises(InputError, match="no row for split 'val'"):
        sharded(folder, "some", lambda work: Contents(SCHEMA, after(chunks(train=4)), {}))
    assert list(folder.parent.iterdir()) == []
    found = sharded(folder, "some", lambda work: Contents(SCHEMA, after(chunks(train=4, val=4, test=4)), {}))
    assert found.splits["train"].rows == 4
    assert sharded(folder, "some", None).schema == SCHEMA  # nothing is prepared again


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/set: cannot be written .*set data_dir"):
        sharded(tmp_path / "file" / "set", "some", None)


def test_the_copy_of_another_process_is_as_good(tmp_path):
    folder = tmp_path / "set"

    def slow(work):
        prepared(folder, chunks(train=8, val=4, test=4))  # by the other process
        return Contents(SCHEMA, after(chunks(train=4, val=4, test=4)), {})

    assert sharded(folder, "some", slow).splits["train"].rows == 8
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


class Heard(io.StringIO):
    """A stderr that tells when it has been told something."""

    def __init__(self, text):
        super().__init__()
        self.text, self.event = text, threading.Event()

    def write(self, said):
        count = super().write(said)
        if self.text in self.getvalue():
            self.event.set()
        return count


def test_a_process_waits_for_another_that_prepares_the_same_set(tmp_path, monkeypatch):
    began, may_end = threading.Event(), threading.Event()
    heard = Heard("set: waits for another process")
    monkeypatch.setattr(sys, "stderr", heard)

    def slow(work):
        began.set()
        assert may_end.wait(60)
        return Contents(SCHEMA, after(chunks(train=8, val=4, test=4)), {})

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(sharded, tmp_path / "set", "some", slow)
        assert began.wait(60)
        other = pool.submit(sharded, tmp_path / "set", "some", None)  # prepares nothing
        waits = heard.event.wait(60)
        may_end.set()
        assert waits
        assert one.result().splits["train"].rows == other.result().splits["train"].rows == 8
    assert "lock" not in [p.name for p in (tmp_path / "set").iterdir()]


def test_damage_is_found_when_a_set_is_opened(tmp_path):
    folder = tmp_path / "set"
    prepared(folder, chunks(train=40, val=4, test=4), rows_per_block=8, blocks_per_file=2)
    path = folder / "train.000001.arrow"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"train\.000001\.arrow: is damaged \(\d+ bytes, expected \d+"):
        open_shards(folder)
    path.unlink()
    with pytest.raises(InputError, match=r"train\.000001\.arrow: is damaged \(is missing, expected"):
        open_shards(folder)
    path.write_bytes(content)
    meta = json.loads((folder / "meta.json").read_text())
    for changed in ({**meta, "format": 0}, {k: v for k, v in meta.items() if k != "splits"}):
        (folder / "meta.json").write_text(json.dumps(changed))
        with pytest.raises(InputError, match=r"meta\.json: is damaged .*delete the folder"):
            open_shards(folder)
    (folder / "meta.json").write_text("{")
    with pytest.raises(InputError, match=r"meta\.json: is damaged"):
        open_shards(folder)
