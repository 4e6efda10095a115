import hashlib
import json
import os

import pyarrow as pa
import pytest

from mtl.data.cache import cached, data_folder, manual_folder
from mtl.errors import InputError

TABLE = pa.table({"x": pa.array([1.0, 2.5], pa.float32()), "c": pa.array(["a", "b"])})
FACTS = {"rows": 2, "name": "tiny"}


def build(work):
    return TABLE, FACTS


def refuse_to_build(work):
    raise AssertionError("a prepared table must be read, not built")


def only_line(caught):
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_table_is_built_once_and_read_back(tmp_path):
    folder = tmp_path / "set" / "1.0.0"
    first = cached(folder, build)
    second = cached(folder, refuse_to_build)
    for table, facts in (first, second):
        assert table.equals(TABLE)
        assert facts == FACTS
    assert [p.name for p in folder.parent.iterdir()] == ["1.0.0"]


def test_what_the_builder_leaves_in_its_folder_is_kept(tmp_path):
    def leave_a_file(work):
        (work / "extra.txt").write_text("kept")
        return TABLE, FACTS

    cached(tmp_path / "set", leave_a_file)
    assert (tmp_path / "set" / "extra.txt").read_text() == "kept"


@pytest.mark.parametrize("error", [InputError("bad row"), KeyboardInterrupt(), OSError("full")])
def test_a_failed_build_leaves_nothing(tmp_path, error):
    def fail(work):
        (work / "columns.arrow").write_bytes(b"half")
        raise error

    with pytest.raises((InputError, KeyboardInterrupt)):
        cached(tmp_path / "set" / "1.0.0", fail)
    assert list((tmp_path / "set").iterdir()) == []


def test_another_process_that_was_faster_wins(tmp_path):
    folder = tmp_path / "set" / "1.0.0"

    # The other has the same process id here, so this one's work folder is moved out of its way.
    def slow_build(work):
        aside = work.rename(work.with_name("aside"))
        cached(folder, lambda _: (TABLE.slice(0, 1), {"by": "the other"}))
        aside.rename(work)
        return TABLE, FACTS

    _, facts = cached(folder, slow_build)
    assert facts == {"by": "the other"}
    assert [p.name for p in folder.parent.iterdir()] == ["1.0.0"]


def flip_a_byte(folder):
    path = folder / "columns.arrow"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_the_columns(folder):
    path = folder / "columns.arrow"
    path.write_bytes(path.read_bytes()[:-10])


def remove_the_columns(folder):
    (folder / "columns.arrow").unlink()


def cut_the_meta(folder):
    path = folder / "meta.json"
    path.write_text(path.read_text()[:20])


def empty_the_meta(folder):
    (folder / "meta.json").write_text("{}")


def remove_the_meta(folder):
    (folder / "meta.json").unlink()


@pytest.mark.parametrize(
    "damage, file",
    [
        (flip_a_byte, "columns.arrow"),
        (cut_the_columns, "columns.arrow"),
        (remove_the_columns, "columns.arrow"),
        (cut_the_meta, "meta.json"),
        (empty_the_meta, "meta.json"),
        (remove_the_meta, "meta.json"),
    ],
)
def test_a_damaged_cache_names_the_file_and_the_folder_to_delete(tmp_path, damage, file):
    folder = tmp_path / "set"
    cached(folder, build)
    damage(folder)
    with pytest.raises(InputError) as caught:
        cached(folder, refuse_to_build)
    message = only_line(caught)
    assert message.startswith(f"{folder / file}: is damaged")
    assert message.endswith(f"delete the folder {folder} and run again")


def test_a_file_that_is_not_arrow_is_damaged_even_with_a_matching_checksum(tmp_path):
    folder = tmp_path / "set"
    cached(folder, build)
    (folder / "columns.arrow").write_bytes(b"not arrow at all")
    meta = {"sha256": hashlib.sha256(b"not arrow at all").hexdigest(), "facts": {}}
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(InputError, match=r"columns\.arrow: is damaged"):
        cached(folder, refuse_to_build)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError) as caught:
        cached(tmp_path / "file" / "set", build)
    message = only_line(caught)
    assert f"{tmp_path / 'file' / 'set'}: cannot be written (Not a directory)" in message
    assert "MTL_DATA_DIR" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"cannot be written \(Permission denied\)"):
        cached(tmp_path / "set", build)


def test_folders_come_from_argument_then_environment(tmp_path, monkeypatch):
    assert manual_folder(None) is None
    assert data_folder(None).parts[-2:] == (".cache", "mtl")
    (tmp_path / "env").mkdir()
    monkeypatch.setenv("MTL_DATA_DIR", str(tmp_path / "env"))
    monkeypatch.setenv("MTL_MANUAL_DIR", str(tmp_path / "env"))
    assert data_folder(None) == manual_folder(None) == tmp_path / "env"
    assert data_folder(tmp_path) == manual_folder(tmp_path) == tmp_path


def test_a_manual_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere is not a folder"):
        manual_folder(tmp_path / "nowhere")
