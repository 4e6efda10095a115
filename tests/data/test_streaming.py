import itertools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from mtl.data import encode, streaming
from mtl.errors import InputError
from third_party.raw_files import cut, hashes, line_number, matrix, read_piece

TYPES = {
    "split": pa.uint8(),
    "a": pa.int32(),
    "b": pa.int32(),
    "value": pa.float32(),
    "label": pa.float32(),
}
ROWS = 300


def table(rows=ROWS):
    rng = np.random.default_rng(0)
    return {
        "split": rng.choice([0, 0, 0, 1, 2], rows),
        "a": (20 * rng.random(rows) ** 3).astype(int) * 1000,
        "b": rng.integers(-1, 4, rows),
        "value": rng.normal(5, 2, rows).round(3),
        "label": rng.integers(0, 2, rows),
    }


def parse(piece):
    rows = read_piece(piece, TYPES)
    columns = {name: rows[name].to_numpy() for name in TYPES}
    kept = columns["b"] != 3
    batch = pa.record_batch(
        {
            "split": pa.array(columns["split"][kept]),
            "ids": matrix(np.stack([columns["a"], columns["b"]], axis=1)[kept]),
            "values": matrix(columns["value"][kept, None]),
            "labels": matrix(columns["label"][kept, None]),
        }
    )
    return batch.replace_schema_metadata({"dropped": str((~kept).sum())})


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "raw" / "rows.csv"
    path.parent.mkdir()
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in zip(*table().values())))
    return path


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "prepared" / "tiny" / "1.0.0"


def plan(raw, parse=parse, size=700, min_counts=(5, 1)):
    return streaming.Plan(
        "tiny", [raw], cut(raw, "train", size, header=False), lambda work: parse, min_counts, ("event",), {}
    )


def refuse_to_parse(piece):
    raise AssertionError("what is prepared must not be parsed again")


def stop_at(number):
    """A parser that a stop interrupts, and the pieces that it has begun."""
    begun = []

    def parse_until(piece):
        begun.append(piece)
        if len(begun) > number:
            raise KeyboardInterrupt
        return parse(piece)

    return parse_until, begun


def contents(prepared):
    return {
        (s, key): value.copy() for s, columns in prepared.splits.items() for key, value in columns.items()
    }


def expected(group):
    """The arrays by their definition, from all rows at once."""
    rows = table()
    kept = rows["b"] != 3
    rows = {name: values[kept] for name, values in rows.items()}
    train = rows["split"] == 0
    values, counts = np.unique(rows["a"][train], return_counts=True)
    known = values[counts >= 5].tolist()
    assert 0 < len(known) < len(values)
    if group == "ids":
        a = [known.index(v) + 1 if v in known else 0 for v in rows["a"]]
        return rows["split"], np.stack([a, rows["b"] + 1], axis=1)
    if group == "numeric":
        value = rows["value"].astype(np.float32).astype(np.float64)
        return rows["split"], ((value - value[train].mean()) / value[train].std())[:, None]
    return rows["split"], rows["label"][:, None]


@pytest.mark.parametrize("size", [60, 700, 10**6])
def test_arrays_are_those_of_the_whole_file_for_any_size_of_piece(raw, folder, size):
    prepared = streaming.streamed(folder, plan(raw, size=size))
    for group in ("ids", "numeric", "labels"):
        split, values = expected(group)
        for number, name in enumerate(("train", "val", "test")):
            found = prepared.splits[name][group]
            assert found.dtype == (np.int32 if group == "ids" else np.float32)
            np.testing.assert_allclose(found, values[split == number], atol=1e-5)
    assert prepared.facts["dropped"] == (table()["b"] == 3).sum()
    split, label = expected("labels")
    assert prepared.facts["label_rates"]["val"] == {"event": pytest.approx(label[split == 1].mean())}
    assert prepared.vocab_sizes[1] == 4


def test_an_absent_feature_is_id_0_however_frequent(raw, folder):
    ids = streaming.streamed(folder, plan(raw)).splits["train"]["ids"]
    rows = table()
    train = (rows["split"] == 0) & (rows["b"] != 3)
    np.testing.assert_array_equal(ids[:, 1] == 0, rows["b"][train] == -1)


def test_a_prepared_set_is_mapped_not_read_and_not_parsed_again(raw, folder):
    first = contents(streaming.streamed(folder, plan(raw)))
    second = streaming.streamed(folder, plan(raw, refuse_to_parse))
    for key, value in contents(second).items():
        np.testing.assert_array_equal(value, first[key])
    array = second.splits["train"]["ids"]
    assert isinstance(array.base, np.memmap)
    assert not array.flags.writeable
    assert [path.name for path in folder.parent.iterdir()] == ["1.0.0"]


def test_raw_files_are_not_needed_once_the_set_is_prepared(raw, folder):
    first = contents(streaming.streamed(folder, plan(raw)))
    raw.unlink()
    gone = streaming.Plan("tiny", [], [], lambda work: refuse_to_parse, (5, 1), ("event",), {})
    for key, value in contents(streaming.streamed(folder, gone)).items():
        np.testing.assert_array_equal(value, first[key])


def test_max_rows_gives_the_first_rows_of_each_split(raw, folder):
    whole = contents(streaming.streamed(folder, plan(raw)))
    cut_off = contents(streaming.streamed(folder, plan(raw), max_rows=7))
    for key, value in cut_off.items():
        np.testing.assert_array_equal(value, whole[key][:7])
        assert len(value) == 7


def test_a_stopped_preparation_continues_with_the_next_piece(raw, folder):
    pieces = plan(raw).pieces
    whole = contents(streaming.streamed(folder.with_name("other"), plan(raw)))
    first, _ = stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        streaming.streamed(folder, plan(raw, first))
    assert not folder.exists()
    second, begun = stop_at(len(pieces))
    found = contents(streaming.streamed(folder, plan(raw, second)))
    assert begun == pieces[4:]
    for key, value in found.items():
        np.testing.assert_array_equal(value, whole[key])
    assert not folder.with_name("1.0.0.partial").exists()


def test_a_killed_process_leaves_whole_chunks_only(raw, folder):
    code = f"""
import os, signal, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from pathlib import Path
from mtl.data import encode, streaming
from test_streaming import parse, plan
begun = []
def die(piece):
    begun.append(piece)
    if len(begun) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return parse(piece)
streaming.streamed(Path({str(folder)!r}), plan(Path({str(raw)!r}), die))
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert not folder.exists()
    left = sorted((folder.with_name("1.0.0.partial") / "chunks").iterdir())
    assert [path.name[:6] for path in left] == ["000000", "000001", "000002"]
    continued, begun = stop_at(100)
    streaming.streamed(folder, plan(raw, continued))
    assert begun == plan(raw).pieces[3:]


def test_a_chunk_that_was_damaged_meanwhile_is_parsed_again(raw, folder):
    whole = contents(streaming.streamed(folder.with_name("other"), plan(raw)))
    first, _ = stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        streaming.streamed(folder, plan(raw, first))
    chunk = sorted((folder.with_name("1.0.0.partial") / "chunks").iterdir())[1]
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    second, begun = stop_at(100)
    found = contents(streaming.streamed(folder, plan(raw, second)))
    assert begun == [plan(raw).pieces[1], *plan(raw).pieces[4:]]
    for key, value in found.items():
        np.testing.assert_array_equal(value, whole[key])


def test_chunks_of_a_raw_file_that_changed_are_not_used(raw, folder):
    first, _ = stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        streaming.streamed(folder, plan(raw, first))
    raw.write_text(raw.read_text() + "0,1000,2,5.0,1\n")
    second, begun = stop_at(100)
    prepared = streaming.streamed(folder, plan(raw, second))
    assert begun == plan(raw).pieces
    assert sum(prepared.facts["rows"].values()) == (table()["b"] != 3).sum() + 1


def test_a_prepared_set_of_other_files_is_named(raw, folder):
    streaming.streamed(folder, plan(raw))
    raw.write_text(raw.read_text() + "0,1000,2,5.0,1\n")
    with pytest.raises(InputError, match=r"was prepared from other files .*delete that folder"):
        streaming.streamed(folder, plan(raw))


def test_another_process_that_was_faster_wins(raw, folder):
    def slow(piece):
        if not folder.exists():
            streaming.streamed(folder, plan(raw))
        return parse(piece)

    assert streaming.streamed(folder, plan(raw, slow)).vocab_sizes[1] == 4
    assert [path.name for path in folder.parent.iterdir()] == ["1.0.0"]


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage, name",
    [
        (lambda folder: flip(folder / "val.ids.npy", -3), "val.ids.npy"),
        (lambda folder: flip(folder / "train.numeric.npy", 3), "train.numeric.npy"),
        (lambda folder: os.truncate(folder / "test.labels.npy", 200), "test.labels.npy"),
        (lambda folder: (folder / "test.labels.npy").unlink(), "test.labels.npy"),
        (lambda folder: (folder / "meta.json").write_text("{}"), "meta.json"),
        (lambda folder: (folder / "meta.json").unlink(), "meta.json"),
    ],
)
def test_a_damaged_set_names_the_file_and_the_folder_to_delete(raw, folder, damage, name):
    streaming.streamed(folder, plan(raw))
    damage(folder)
    with pytest.raises(InputError) as caught:
        streaming.streamed(folder, plan(raw, refuse_to_parse))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{folder / name}: is damaged")
    assert message.endswith(f"delete the folder {folder} and run again")


def test_only_the_blocks_that_are_used_are_checked(raw, folder, monkeypatch):
    monkeypatch.setattr(streaming, "BYTES_PER_BLOCK", 256)
    streaming.streamed(folder, plan(raw))
    flip(folder / "train.ids.npy", -3)
    streaming.streamed(folder, plan(raw), max_rows=5)
    with pytest.raises(InputError, match=r"train\.ids\.npy: is damaged \(sha256 of block"):
        streaming.streamed(folder, plan(raw))


def test_counts_are_merged_without_loss(raw, folder, monkeypatch):
    whole = contents(streaming.streamed(folder, plan(raw)))
    monkeypatch.setattr(encode, "PENDING_VALUES", 1)
    for key, value in contents(streaming.streamed(folder.with_name("other"), plan(raw))).items():
        np.testing.assert_array_equal(value, whole[key])


def test_a_split_without_rows_is_named(tmp_path, folder):
    path = tmp_path / "few.csv"
    path.write_text("0,1,1,2.0,1\n2,1,1,2.0,0\n")
    with pytest.raises(InputError, match="tiny: no row for split 'val'"):
        streaming.streamed(folder, plan(path))


def test_a_folder_that_cannot_be_written_is_named(raw, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory\); set data_dir"):
        streaming.streamed(tmp_path / "file" / "set", plan(raw))


def test_facts_are_json_without_machine_paths(raw, folder, tmp_path):
    assert str(tmp_path) not in json.dumps(streaming.streamed(folder, plan(raw)).facts)


def test_pieces_are_whole_lines_and_cover_the_file(raw):
    content = raw.read_bytes()
    for size in (1, 50, 10**9):
        pieces = cut(raw, "train", size, header=True)
        assert pieces[0].start == content.index(b"\n") + 1
        assert pieces[-1].stop == len(content)
        for piece, following in itertools.pairwise(pieces):
            assert piece.stop == following.start
        assert all(content[piece.stop - 1 : piece.stop] == b"\n" for piece in pieces)
    assert len(cut(raw, "train", 1, header=False)) == ROWS
    assert line_number(cut(raw, "train", 1, header=False)[41], 0) == 42


def test_a_last_line_without_an_end_is_read(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("0,1,1,2.0,1\n2,1,1,2.0,0")
    (piece,) = cut(path, "train", 100, header=False)
    assert read_piece(piece, TYPES).num_rows == 2


@pytest.mark.parametrize("line", ["0,1,1,2.0", "0,1,1,2.0,1,9", "0,one,1,2.0,1", "0,,1,2.0,1"])
def test_a_malformed_line_names_the_file(tmp_path, folder, line):
    path = tmp_path / "rows.csv"
    path.write_text("0,1,1,2.0,1\n2,1,1,2.0,0\n" + line + "\n")
    with pytest.raises(InputError, match=r"rows\.csv, rows after line 2: cannot be read .*Row #1") as caught:
        streaming.streamed(folder, plan(path, size=15))
    assert "\n" not in str(caught.value)


def test_hashes_are_those_of_fnv_1a():
    # Test vectors of the authors: http://www.isthe.com/chongo/tech/comp/fnv
    found = hashes(pa.array(["x", "", "a", "foobar"]).slice(1))
    assert found.tolist() == [0xCBF29CE484222325, 0xAF63DC4C8601EC8C, 0x85944171F73967E8]
