import gzip

import pytest

from mtl.data import load
from mtl.errors import InputError
from third_party.census_income_kdd.columns import COLUMNS


@pytest.fixture
def folders(write_census, train_rows, test_rows):
    return write_census(train_rows, test_rows)


@pytest.fixture
def refused(folders, capsys):
    """Returns a function that loads, and gives the one line with which that is refused."""

    def load_and_refuse():
        with pytest.raises(InputError) as caught:
            load("census", **folders)
        message = str(caught.value)
        assert "\n" not in message
        assert capsys.readouterr() == ("", "")
        place = folders["data_dir"] / "census_income_kdd"
        assert not place.exists() or list(place.iterdir()) == []
        return message

    return load_and_refuse


def raw(folders, part="data"):
    return folders["manual_dir"] / "census_income_kdd" / f"census-income.{part}.gz"


def edit(folders, line, change, part="data"):
    """Rewrites one line (from 1) of a raw file."""
    path = raw(folders, part)
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    lines[line - 1] = change(lines[line - 1])
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))


def set_cell(folders, line, column, value, part="data"):
    def change(text):
        cells = text.split(", ")
        cells[COLUMNS.index(column)] = value
        return ", ".join(cells)

    edit(folders, line, change, part)


@pytest.mark.parametrize(
    "column, value, reason",
    [
        ("age", "forty", "'forty' is not a finite number >= 0"),
        ("age", "-3", "'-3' is not a finite number >= 0"),
        ("wage_per_hour", "nan", "'nan' is not a finite number >= 0"),
        ("capital_gains", "inf", "'inf' is not a finite number >= 0"),
        ("instance_weight", "1e999", "'1e999' is not a finite number >= 0"),
        ("weeks_worked", "?", "'?' is not a finite number >= 0"),
        ("income_50k", "1", "'1' is not a label value; expected one of: - 50000, 50000+"),
        ("marital_stat", "never married", "'never married' is not a label value"),
        ("education", "Bachelors", "'Bachelors' is not a label value"),
        ("citizenship", " ", "is empty; a missing value is written '?'"),
    ],
)
def test_a_bad_cell_names_file_line_and_column(folders, refused, column, value, reason):
    set_cell(folders, 17, column, value)
    message = refused()
    assert message.startswith(f"{raw(folders)}, line 17, column {column!r}: ")
    assert reason in message


def test_a_bad_cell_in_the_test_part_is_found_too(folders, refused):
    set_cell(folders, 24, "num_emp", "many", part="test")
    assert refused().startswith(f"{raw(folders, 'test')}, line 24, column 'num_emp'")


@pytest.mark.parametrize(
    "change, columns",
    [
        (lambda line: line.rsplit(",", 1)[0], 41),
        (lambda line: line + ", 50000+.", 43),
        (lambda line: "", 1),
    ],
    ids=["one too few", "one too many", "blank line"],
)
def test_a_wrong_number_of_columns_names_file_and_line(folders, refused, change, columns):
    edit(folders, 9, change)
    assert refused().startswith(f"{raw(folders)}, line 9: {columns} columns, expected 42")


def cut_gzip(content):
    return content[: len(content) // 2]


def break_the_middle(content):
    middle = len(content) // 2
    return content[:middle] + bytes(16) + content[middle + 16 :]


def break_the_checksum(content):
    return content[:-8] + bytes(4) + content[-4:]


def not_gzip(content):
    return gzip.decompress(content)


@pytest.mark.parametrize(
    "damage", [cut_gzip, break_the_middle, break_the_checksum, not_gzip], ids=lambda f: f.__name__
)
def test_a_damaged_file_is_named(folders, refused, damage):
    path = raw(folders)
    path.write_bytes(damage(path.read_bytes()))
    message = refused()
    assert message.startswith(f"{path}, after line ")
    assert "the file is damaged or truncated" in message
    assert "archive.ics.uci.edu" in message


def test_a_file_that_is_not_utf8_is_named(folders, refused):
    path = raw(folders)
    content = gzip.decompress(path.read_bytes()).replace(b"Divorced", b"Div\xff\xfeced", 1)
    path.write_bytes(gzip.compress(content))
    message = refused()
    assert message.startswith(f"{path}, after line ")
    assert "utf-8" in message


@pytest.mark.parametrize("content", [b"", gzip.compress(b"")], ids=["no bytes", "no rows"])
def test_an_empty_file_is_named(folders, refused, content):
    raw(folders, "test").write_bytes(content)
    assert refused().startswith(f"{raw(folders, 'test')}: is empty")


@pytest.mark.parametrize("part, other", [("data", "test"), ("test", "data")])
def test_one_file_without_the_other_is_named(folders, refused, part, other):
    raw(folders, part).unlink()
    message = refused()
    assert f"census-income.{part}.gz is missing beside census-income.{other}.gz" in message


def test_a_manual_folder_that_does_not_exist_is_named(folders, refused):
    folders["manual_dir"] = folders["manual_dir"] / "elsewhere"
    assert f"manual_dir {folders['manual_dir']} is not a folder" in refused()


def test_a_data_folder_that_cannot_be_written_is_named(folders, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written") as caught:
        load("census", data_dir=tmp_path / "file", manual_dir=folders["manual_dir"])
    assert str(tmp_path / "file") in str(caught.value)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_test_part_of_one_row_cannot_be_split(write_census, train_rows, test_rows):
    with pytest.raises(InputError, match="two rows or more, to be split into val and test"):
        load("census", **write_census(train_rows, test_rows[:1]))


def test_a_damaged_prepared_set_says_what_to_delete(folders):
    load("census", **folders)
    folder = folders["data_dir"] / "census_income_kdd" / "1.0.0"
    (folder / "columns.arrow").write_bytes(b"garbage")
    with pytest.raises(InputError, match=f"delete the folder {folder} and run again"):
        load("census", **folders)


def test_a_raw_file_damaged_after_the_preparation_is_named(folders):
    load("census", **folders)
    path = raw(folders)
    path.write_bytes(cut_gzip(path.read_bytes()))
    with pytest.raises(InputError, match=r"census-income\.data\.gz: cannot be read"):
        load("census", **folders)


def test_the_set_loads_once_the_mistake_is_mended(folders, refused):
    path = raw(folders)
    content = path.read_bytes()
    set_cell(folders, 2, "age", "old")
    refused()
    path.write_bytes(content)
    assert load("census", **folders).provenance["rows"]["train"] == 60
