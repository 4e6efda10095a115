import socket
import tarfile
import zipfile

import pytest

from mtl.data import load
from mtl.errors import InputError
from third_party.census_income_kdd import HOMEPAGE, raw


@pytest.fixture
def archive(tmp_path, monkeypatch, train_rows, test_rows):
    """Returns a function that makes an archive in the published layout and points the URL at it."""

    def make(train_name="census-income.data"):
        with tarfile.open(tmp_path / "census.tar.gz", "w:gz") as inner:
            for name, rows in ((train_name, train_rows), ("census-income.test", test_rows)):
                path = tmp_path / name
                path.write_text("".join(", ".join(row) + "\n" for row in rows))
                inner.add(path, name)
        path = tmp_path / "published.zip"
        with zipfile.ZipFile(path, "w") as outer:
            outer.write(tmp_path / "census.tar.gz", "census.tar.gz")
        monkeypatch.setattr(raw, "URL", path.as_uri())
        return path

    return make


def refuse(tmp_path):
    with pytest.raises(InputError) as caught:
        load("census", data_dir=tmp_path / "prepared")
    message = str(caught.value)
    assert "\n" not in message
    for part in ("census-income.data.gz and census-income.test.gz", HOMEPAGE, "--manual_dir"):
        assert part in message
    assert list((tmp_path / "prepared" / "census_income_kdd").iterdir()) == []
    return message


def test_a_download_is_unpacked_and_prepared(archive, tmp_path):
    archive()
    dataset = load("census", data_dir=tmp_path / "prepared")
    assert dataset.provenance["rows"] == {"train": 60, "val": 12, "test": 12}
    assert dataset.provenance["files"]["train"]["file"] == "census-income.data"
    folder = tmp_path / "prepared" / "census_income_kdd" / "1.0.0"
    assert sorted(p.name for p in folder.iterdir()) == ["columns.arrow", "meta.json", "tfds"]


def test_a_manual_folder_without_the_files_falls_back_to_the_download(archive, tmp_path):
    archive()
    (tmp_path / "manual").mkdir()
    dataset = load("census", data_dir=tmp_path / "prepared", manual_dir=tmp_path / "manual")
    assert dataset.provenance["rows"]["train"] == 60


def test_a_refused_connection_says_which_file_goes_where(tmp_path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(raw, "URL", f"http://127.0.0.1:{unused.getsockname()[1]}/x.zip")
        assert "refused" in refuse(tmp_path)


def test_a_silent_server_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "TIMEOUT_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(raw, "URL", f"http://127.0.0.1:{silent.getsockname()[1]}/x.zip")
        assert "timed out" in refuse(tmp_path)


def test_a_download_that_is_not_an_archive_is_refused(archive, tmp_path):
    archive().write_bytes(b"<html>moved</html>")
    assert "not a zip file" in refuse(tmp_path)


def test_an_archive_of_another_layout_is_refused(archive, tmp_path):
    archive(train_name="census.data")
    assert "census-income.data" in refuse(tmp_path)
