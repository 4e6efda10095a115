import numpy as np
import pytest

from mtl.data import load, streaming
from mtl.errors import InputError
from third_party.aliexpress import CATEGORICAL, LABELS, NUMERIC

HEADER = ["search_id", *CATEGORICAL, *NUMERIC, *LABELS]


def searches(count, seed):
    """Rows as lists of text, three to a search; every sixth has a conversion without a click."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        categories = [str(c) for c in rng.integers(0, 5, len(CATEGORICAL))]
        numbers = [f"{x:.4f}" for x in rng.random(len(NUMERIC))]
        labels = [("0", "0.0"), ("1", "0.0"), ("1", "1.0"), ("0", "0.0"), ("1", "0.0"), ("0", "1.0")][i % 6]
        rows.append([str(i // 3), *categories, *numbers, *labels])
    return rows


@pytest.fixture
def write(tmp_path):
    def write(header=HEADER, **countries):
        for country, (train, test) in countries.items():
            place = tmp_path / "manual" / "aliexpress" / f"AliExpress_{country}"
            place.mkdir(parents=True, exist_ok=True)
            for part, rows in (("train", train), ("test", test)):
                lines = [",".join(row) for row in [header, *rows]]
                (place / f"{part}.csv").write_text("\n".join(lines) + "\n")
        return {"manual_dir": tmp_path / "manual", "data_dir": tmp_path / "prepared"}

    return write


@pytest.fixture
def folders(write):
    return write(NL=(searches(120, 1), searches(24, 2)), ES=(searches(90, 3), searches(12, 4)))


def valid(rows):
    return [row for row in rows if not (row[-2] == "0" and float(row[-1]))]


def test_test_rows_are_those_of_the_files_country_after_country(folders):
    dataset = load("aliexpress", **folders)
    rows = [*valid(searches(12, 4)), *valid(searches(24, 2))]
    test = dataset.splits["test"]
    np.testing.assert_array_equal(test["labels"], [[float(x) for x in row[-2:]] for row in rows])
    np.testing.assert_array_equal(test["ids"][:, 0], [1] * 10 + [2] * 20)
    # All of 0 … 4 occur in train, so that ids are categories + 1.
    np.testing.assert_array_equal(test["ids"][:, 1:], [[int(x) + 1 for x in row[1:17]] for row in rows])


def test_the_country_is_the_domain(folders):
    columns = load("aliexpress", **folders).schema.id_columns
    assert [c.name for c in columns if c.role == "domain"] == ["country"]
    assert columns[0].vocab_size == 3
    one = load("aliexpress", countries=("NL",), **folders)
    assert one.schema.id_columns[0].vocab_size == 2
    assert one.provenance["rows"]["test"] == 20


def test_quantities_are_standardised_on_the_training_rows(folders):
    train = load("aliexpress", **folders).splits["train"]["numeric"].astype(np.float64)
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(axis=0), 1, atol=1e-5)


def test_a_search_lies_in_one_split(write):
    rows = searches(600, 1)
    for row in rows:
        row[16] = row[0]  # a category per search: what train has not seen is id 0
    dataset = load("aliexpress", **write(NL=(rows, searches(12, 2))))
    sizes = dataset.provenance["rows"]
    assert sizes["train"] + sizes["val"] == 500
    assert 20 < sizes["val"] < 90
    assert (dataset.splits["train"]["ids"][:, 16] > 0).all()
    assert (dataset.splits["val"]["ids"][:, 16] == 0).all()


def test_a_conversion_without_a_click_is_dropped_and_counted(folders):
    assert load("aliexpress", **folders).provenance["dropped"] == (120 + 24 + 90 + 12) // 6


def test_the_first_rows_are_of_every_country(folders, monkeypatch):
    monkeypatch.setattr(streaming, "BYTES_PER_PIECE", 2000)
    few = load("aliexpress", max_rows=20, **folders)
    assert set(few.splits["train"]["ids"][:, 0]) == {1, 2}


def test_choices_of_countries_are_prepared_apart_and_need_no_raw_files_then(folders):
    whole = load("aliexpress", countries=("ES", "NL"), **folders)
    again = load("aliexpress", countries=("NL", "ES"), data_dir=folders["data_dir"])
    for split, columns in whole.splits.items():
        np.testing.assert_array_equal(columns["ids"], again.splits[split]["ids"])


def test_a_country_that_is_not_there_is_named(folders):
    with pytest.raises(InputError, match="no folder AliExpress_FR beside those of ES, NL"):
        load("aliexpress", countries=("NL", "FR"), **folders)
    with pytest.raises(InputError, match=r"unknown name in countries 'UK'"):
        load("aliexpress", countries=("UK",), **folders)


def test_a_header_that_is_another_is_named(write):
    header = [*HEADER[:5], "kategorie", *HEADER[6:]]
    with pytest.raises(InputError, match=r"train\.csv: the header has 'kategorie', expected the 82 columns"):
        load("aliexpress", **write(header=header, NL=(searches(6, 1), searches(6, 2))))


@pytest.mark.parametrize(
    "cell, value, expected",
    [
        (-2, "2", r"train\.csv, line 4, column 'click': is 2\.0, expected 0 or 1"),
        (20, "inf", r"line 4, column 'numerical_4': is inf, expected a finite number"),
        (1, "-1", r"line 4, column 'categorical_1': is -1, expected a number >= 0"),
        (1, "", r"rows after line 1: cannot be read"),
    ],
)
def test_a_bad_cell_is_named(write, cell, value, expected):
    rows = searches(12, 1)
    rows[2][cell] = value
    with pytest.raises(InputError, match=expected):
        load("aliexpress", **write(NL=(rows, searches(6, 2))))


def test_a_missing_part_is_named(folders):
    (folders["manual_dir"] / "aliexpress" / "AliExpress_NL" / "test.csv").unlink()
    with pytest.raises(InputError, match=r"AliExpress_NL.test\.csv: is missing; get it from https"):
        load("aliexpress", **folders)


def test_without_files_one_line_says_what_to_get(tmp_path):
    with pytest.raises(InputError, match=r"aliexpress: no raw files; get AliExpress_NL.train\.csv") as caught:
        load("aliexpress", countries=("NL",), manual_dir=tmp_path, data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_records_of_the_builder_are_the_rows_of_the_files(folders, prepared_blocks):
    from third_party.aliexpress.builder import AliExpress

    (block,) = prepared_blocks(AliExpress, folders["manual_dir"], config="NL")["test"]
    rows = searches(24, 2)
    np.testing.assert_array_equal(block["ids"], [[int(x) for x in row[1:17]] for row in rows])
    np.testing.assert_array_equal(block["values"], np.array([row[17:80] for row in rows], np.float32))
    assert [s.decode() for s in block["search_id"]] == [row[0] for row in rows]


def test_the_real_sample_has_the_published_rates(real_folder, tmp_path):
    dataset = load("aliexpress", manual_dir=real_folder("aliexpress_sample"), data_dir=tmp_path)
    rows, rates = dataset.provenance["rows"], dataset.provenance["label_rates"]
    assert rows["train"] + rows["val"] == 100
    assert rows["test"] == 20
    clicks = rows["train"] * rates["train"]["click"] + rows["val"] * rates["val"]["click"]
    assert clicks == pytest.approx(60)
    assert rates["test"] == pytest.approx({"click": 0.5, "conversion": 0.1})
    assert dataset.splits["train"]["ids"].shape[1] == 17
    assert dataset.splits["train"]["numeric"].shape[1] == 63
    assert {f["checksum"] for f in dataset.provenance["sample"].values()} == {"published"}
