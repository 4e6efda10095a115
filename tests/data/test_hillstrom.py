import gzip
import json

import numpy as np
import pytest

from mtl.data import load
from mtl.errors import InputError

HEADER = [
    *("recency", "history_segment", "history", "mens", "womens", "zip_code", "newbie", "channel", "segment"),
    *("visit", "conversion", "spend"),
]
FUNNEL = [("0", "0", "0"), ("1", "0", "0"), ("1", "1", "29.99")]


def customers(count=60):
    return [
        [
            *(str(1 + i % 12), "1) $0 - $100", str(30.5 + i), "1", str(i % 2), "Rural", "0"),
            *("Web", ["No E-Mail", "Mens E-Mail", "Womens E-Mail"][i % 3], *FUNNEL[(i // 3) % 3]),
        ]
        for i in range(count)
    ]


@pytest.fixture
def write(tmp_path):
    def write(rows, header=HEADER, folder="hillstrom"):
        path = tmp_path / "manual" / folder / "hillstrom.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("\n".join(",".join(r) for r in [header, *rows]).encode()))
        return tmp_path / "manual"

    return write


def whole(dataset, key):
    return np.concatenate([dataset.splits[s][key] for s in ("train", "val", "test")])


def test_the_chain_of_events_is_the_task_graph(write):
    visit, conversion, spend = load("hillstrom", manual_dir=write(customers())).schema.tasks
    assert (conversion.parents, conversion.requires) == (("visit",), ("visit",))
    assert (spend.kind, spend.parents, spend.requires) == ("regression", ("conversion",), ())
    assert visit.parents == ()


def test_a_task_left_out_leaves_the_one_before_it_as_parent(write):
    spend, visit = load("hillstrom", tasks=("spend", "visit"), manual_dir=write(customers())).schema.tasks
    assert (spend.name, spend.parents, visit.parents) == ("spend", ("visit",), ())


def test_every_row_is_in_one_split_with_its_labels(write):
    dataset = load("hillstrom", manual_dir=write(customers()))
    assert dataset.provenance["rows"] == {"train": 36, "val": 12, "test": 12}
    found = whole(dataset, "labels")
    expected = np.array([row[-3:] for row in customers()], np.float32)
    np.testing.assert_array_equal(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)])
    assert dataset.provenance["label_rates"]["all"] == pytest.approx(
        {"visit": 39 / 60, "conversion": 18 / 60, "spend": 18 * 29.99 / 60}
    )


def test_splits_depend_on_the_seed_alone(write):
    folder = write(customers())
    one, same, other = (load("hillstrom", seed=s, manual_dir=folder).splits["val"]["ids"] for s in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_spend_after_the_logarithm(write):
    folder = write(customers())
    dollars, logarithm = (load("hillstrom", log_spend=on, manual_dir=folder) for on in (False, True))
    np.testing.assert_allclose(
        whole(logarithm, "labels")[:, 2], np.log1p(whole(dollars, "labels")[:, 2]), rtol=1e-6
    )
    assert dollars.provenance["spend"] == "dollars"
    assert logarithm.provenance["spend"] == "log(1 + dollars)"


def test_inputs_are_what_was_known_before_the_visit(write):
    rows = customers()
    before = load("hillstrom", manual_dir=write(rows))
    for row in rows:
        row[-3:] = FUNNEL[2]
    rows[0][-3:] = FUNNEL[0]
    after = load("hillstrom", manual_dir=write(rows))
    for key in ("ids", "numeric"):
        np.testing.assert_array_equal(whole(before, key), whole(after, key))
    roles = {c.name: c.role for c in before.schema.id_columns}
    assert roles["segment"] == "context"
    assert set(roles.values()) == {"user", "context"}


def test_numbers_are_standardised_and_a_value_not_in_train_is_id_0(write):
    rows = customers()
    rows[7][5] = "Moon"
    dataset = load("hillstrom", manual_dir=write(rows))
    train = dataset.splits["train"]["numeric"].astype(np.float64)
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(train.std(axis=0), 1, atol=1e-6)
    zip_code = [c.name for c in dataset.schema.id_columns].index("zip_code")
    seen = np.bincount(whole(dataset, "ids")[:, zip_code], minlength=3)
    assert sorted(seen) == [0, 1, 59]
    assert (dataset.splits["train"]["ids"][:, zip_code] > 0).all()


@pytest.mark.parametrize(
    "cell, value, expected",
    [
        (9, "2", r"line 6, column 'visit': is 2, expected 0 or 1"),
        (9, "0", r"line 6, column 'conversion': is 1, expected 0 where visit is 0"),
        (11, "-1", r"line 6, column 'spend': is -1.0, expected a finite number >= 0"),
        (11, "nan", r"line 6, column 'spend'"),
        (8, "Fax", r"line 6, column 'segment': is Fax, expected one of Mens E-Mail"),
        (5, "", r"line 6, column 'zip_code': is empty"),
        (0, "ten", r"invalid value 'ten'"),
    ],
)
def test_a_bad_cell_is_named(write, cell, value, expected):
    rows = customers()
    rows[4][-3:] = FUNNEL[2]
    rows[4][cell] = value
    with pytest.raises(InputError, match=expected) as caught:
        load("hillstrom", manual_dir=write(rows))
    assert "hillstrom.csv.gz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_named(write):
    with pytest.raises(InputError, match=r"'spend'.*expected the columns recency"):
        load("hillstrom", manual_dir=write([r[:-1] for r in customers()], HEADER[:-1]))


def test_a_truncated_file_is_damaged(write):
    path = write(customers()) / "hillstrom" / "hillstrom.csv.gz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="damaged or truncated"):
        load("hillstrom", manual_dir=path.parent)


@pytest.mark.parametrize("folder", [None, "empty"])
def test_without_the_file_one_line_says_what_to_get(tmp_path, folder):
    if folder:
        (tmp_path / folder).mkdir()
    with pytest.raises(InputError, match=r"get hillstrom.csv.gz from https.*hillstrom/") as caught:
        load("hillstrom", manual_dir=tmp_path / folder if folder else None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments", [{"tasks": ("vist",)}, {"tasks": "visit"}, {"tasks": ("visit", "visit")}, {"log_spend": 1}]
)
def test_a_bad_argument_is_refused(write, arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        load("hillstrom", **arguments, manual_dir=write(customers()))


def test_provenance_is_json_without_machine_paths(write, tmp_path):
    provenance = load("hillstrom", manual_dir=write(customers(), folder=".")).provenance
    assert str(tmp_path) not in json.dumps(provenance)
    assert provenance["files"]["customers"]["checksum"] == "differs from the published file"


def test_records_of_the_builder_are_the_rows_of_the_file(write, tmp_path, prepared_blocks):
    from third_party.hillstrom.builder import Hillstrom

    blocks = prepared_blocks(Hillstrom, write(customers()))["train"]
    rows = customers()
    for c, name in enumerate(HEADER):
        found = np.concatenate([block[name] for block in blocks])
        if found.dtype == object:
            assert [value.decode() for value in found] == [row[c] for row in rows]
        else:
            np.testing.assert_array_equal(found, np.array([row[c] for row in rows], np.float32))


def test_rates_of_the_real_file_are_the_published_ones(real_folder):
    dataset = load("hillstrom", manual_dir=real_folder("hillstrom"))
    rates = dataset.provenance["label_rates"]["all"]
    assert rates == pytest.approx(
        {"visit": 9_394 / 64_000, "conversion": 578 / 64_000, "spend": 1.0509}, abs=1e-4
    )
    assert dataset.provenance["rows"] == {"train": 38_400, "val": 12_800, "test": 12_800}
    assert dataset.provenance["files"]["customers"]["checksum"] == "published"
    labels = whole(dataset, "labels")
    np.testing.assert_array_equal(labels[:, 2] > 0, labels[:, 1] == 1)
