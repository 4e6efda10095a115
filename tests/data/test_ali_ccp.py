import numpy as np
import pytest

from mtl.data import load, streaming
from mtl.errors import InputError
from third_party.ali_ccp import FIELDS, NUMERIC, ROW_FIELDS, USER_FIELDS

USERS = 7


def features(pairs):
    """`[(field, feature, value)]` in the published form, and their number."""
    return "\x01".join(f"{field}\x02{feature}\x03{value}" for field, feature, value in pairs), len(pairs)


def index(user):
    return f"{user * 7919:016x}"


def common_lines(seed=0):
    """Features of users; of user 6 nothing is said, and field 126 is absent everywhere."""
    rng = np.random.default_rng(seed)
    lines = []
    for user in range(USERS - 1):
        pairs = [("101", 500 + user, 1.0)]
        pairs += [
            (f, 100 + user % 2, 1.0) for f in USER_FIELDS if f[0] == "1" and len(f) == 3 and f != "126"
        ][1:]
        pairs += [("109_14", 10 + i, round(rng.random(), 3)) for i in range(3)]
        text, count = features(pairs)
        lines.append(f"{index(user)},{count},{text}")
    return lines


def skeleton_rows(count, seed=0):
    """`(sample id, click, conversion, user, features)`; every eighth row has a conversion without a click."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        click, conversion = [(0, 0), (0, 0), (1, 0), (1, 1), (0, 0), (1, 0), (0, 0), (0, 1)][i % 8]
        pairs = [("205", 9000 + int(rng.integers(0, 12)), 1.0), ("206", 70 + i % 3, 1.0), ("301", 1, 1.0)]
        pairs += [("210", 30, 0.5), ("210", 31, 2.5), ("210", 32, 2.5), ("999", 5, 1.0)]
        if i % 2:
            pairs.append(("508", 40, round(rng.random(), 3)))
        rows.append((1000 + i, click, conversion, i % USERS, pairs))
    return rows


def skeleton_lines(rows):
    lines = []
    for sample, click, conversion, user, pairs in rows:
        text, count = features(pairs)
        lines.append(f"{sample},{click},{conversion},{index(user)},{count},{text}")
    return lines


@pytest.fixture
def write(tmp_path):
    def write(train=None, test=None, common=None, folder="ali_ccp"):
        place = tmp_path / "manual" / folder
        place.mkdir(parents=True, exist_ok=True)
        files = {
            "sample_skeleton_train": skeleton_lines(train or skeleton_rows(240)),
            "sample_skeleton_test": skeleton_lines(test or skeleton_rows(40, seed=1)),
            "common_features_train": common or common_lines(),
            "common_features_test": common or common_lines(),
        }
        for name, lines in files.items():
            (place / f"{name}.csv").write_text("\n".join(lines) + "\n")
        return {"manual_dir": tmp_path / "manual", "data_dir": tmp_path / "prepared"}

    return write


def both(dataset, key):
    return np.concatenate([dataset.splits["train"][key], dataset.splits["val"][key]])


def test_rows_of_the_published_layout_are_those_of_a_plain_reader(write):
    rows = skeleton_rows(40, seed=1)
    dataset = load("ali_ccp", min_count=1, **write(test=rows))
    kept = [row for row in rows if row[1] >= row[2]]
    test = dataset.splits["test"]
    np.testing.assert_array_equal(test["labels"], [[row[1], row[2]] for row in kept])
    # Ids rise with features, so that their order is that of the feature with the largest value of each field.
    users = dict(enumerate(common_lines()))
    for c, field in enumerate(FIELDS):
        raw = []
        for _, _, _, user, pairs in kept:
            if field in USER_FIELDS:
                text = users[user].split(",")[2] if user in users else ""
                pairs = [
                    (f, int(rest[0]), float(rest[1]))
                    for f, *rest in (p.replace("\x03", "\x02").split("\x02") for p in text.split("\x01") if p)
                ]
            own = [(-value, at, feature) for at, (f, feature, value) in enumerate(pairs) if f == field]
            raw.append(min(own)[2] if own else -1)
        known = sorted({r for r in raw if r >= 0})
        found = test["ids"][:, c]
        np.testing.assert_array_equal(found == 0, np.array(raw) < 0, err_msg=field)
        order = {feature: set(found[np.array(raw) == feature]) for feature in known}
        assert all(len(ids) == 1 for ids in order.values()), field
        firsts = [ids.pop() for ids in order.values()]
        assert firsts == sorted(firsts), field


def test_of_several_features_the_largest_value_counts_and_of_equal_ones_the_first(write):
    dataset = load("ali_ccp", min_count=1, **write())
    column = FIELDS.index("210")
    assert dataset.schema.id_columns[column].vocab_size == 2  # 31 everywhere
    assert (dataset.splits["test"]["ids"][:, column] == 1).all()


def test_values_are_standardised_on_the_training_rows_and_0_where_absent(write):
    dataset = load("ali_ccp", min_count=1, **write())
    column = NUMERIC.index("D508")
    train = dataset.splits["train"]["numeric"].astype(np.float64)
    live = train.std(axis=0) > 0
    assert live[[column, NUMERIC.index("D109_14")]].all()
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(axis=0)[live], 1, atol=1e-5)
    absent = dataset.splits["train"]["ids"][:, FIELDS.index("508")] == 0
    assert len(np.unique(train[absent, column])) == 1
    assert train[absent, column][0] == train[:, column].min()


def test_val_is_a_fixed_tenth_of_the_training_part(write):
    rows = [row for row in skeleton_rows(2000) if row[1] >= row[2]]
    dataset = load("ali_ccp", **write(train=rows))
    sizes = dataset.provenance["rows"]
    assert sizes["train"] + sizes["val"] == len(rows)
    assert 0.07 < sizes["val"] / len(rows) < 0.13
    np.testing.assert_array_equal(np.sort(both(dataset, "labels")[:, 0]), np.sort([row[1] for row in rows]))


def test_a_purchase_without_a_click_is_dropped_and_counted(write):
    dataset = load("ali_ccp", **write())
    assert dataset.provenance["dropped"] == 240 // 8 + 40 // 8
    assert sum(dataset.provenance["rows"].values()) == 280 - 35
    purchase = dataset.schema.tasks[1]
    assert (purchase.parents, purchase.requires) == (("click",), ("click",))


def test_rare_features_get_id_0(write):
    rows = skeleton_rows(400)
    for row in (3, 11, 19):
        rows[row][4][0] = ("205", 1, 1.0)
    folders = write(train=rows)
    common, rare = (load("ali_ccp", min_count=least, **folders) for least in (1, 5))
    column = FIELDS.index("205")
    assert common.schema.id_columns[column].vocab_size - rare.schema.id_columns[column].vocab_size == 1
    assert (both(rare, "ids")[:, column] == 0).sum() == 3
    assert (both(common, "ids")[:, column] == 0).sum() == 0


def test_roles_follow_the_fields(write):
    roles = {c.name: c.role for c in load("ali_ccp", **write()).schema.id_columns}
    assert roles["101"] == roles["109_14"] == "user"
    assert roles["205"] == "item"
    assert roles["508"] == ""
    assert roles["301"] == "context"


def test_small_pieces_give_the_same_arrays(write, tmp_path, monkeypatch):
    folders = write()
    whole = load("ali_ccp", **folders)
    monkeypatch.setattr(streaming, "BYTES_PER_PIECE", 300)
    pieces = load("ali_ccp", manual_dir=folders["manual_dir"], data_dir=tmp_path / "again")
    for split, columns in whole.splits.items():
        for key, value in columns.items():
            np.testing.assert_array_equal(value, pieces.splits[split][key])


def test_max_rows_and_a_set_without_its_raw_files(write):
    folders = write()
    whole = load("ali_ccp", **folders)
    few = load("ali_ccp", max_rows=3, data_dir=folders["data_dir"])
    assert few.provenance["rows_loaded"] == {"train": 3, "val": 3, "test": 3}
    assert few.provenance["rows"] == whole.provenance["rows"]
    np.testing.assert_array_equal(few.splits["test"]["ids"], whole.splits["test"]["ids"][:3])


@pytest.mark.parametrize(
    "row, expected",
    [
        ("1,0,0,{i},2,205\x025\x031.0", r"sample_skeleton_train.csv, line 3, column 'features'"),
        ("1,0,2,{i},1,205\x025\x031.0", r"line 3, column 'conversion': is 2, expected 0 or 1"),
        ("1,0,0,{i},1,205\x02five\x031.0", r"lines 1 to 3: a feature is malformed .*five"),
        ("1,0,0,{i},1,205\x025\x03nan", r"line 3, column 'features': .* finite values"),
        ("1,0,0,{i},1", r"cannot be read .*Expected 6 columns"),
        ("1,0,0,{i},1,205\x0299999999999\x031.0", r"a feature is malformed .*99999999999"),
    ],
)
def test_a_malformed_line_is_named(write, row, expected):
    folders = write(train=skeleton_rows(2))
    path = folders["manual_dir"] / "ali_ccp" / "sample_skeleton_train.csv"
    path.write_text(path.read_text() + row.format(i=index(0)) + "\n")
    with pytest.raises(InputError, match=expected) as caught:
        load("ali_ccp", **folders)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(write):
    folders = write()
    (folders["manual_dir"] / "ali_ccp" / "common_features_test.csv").unlink()
    with pytest.raises(InputError, match=r"common_features_test\.csv is missing; get it from https"):
        load("ali_ccp", **folders)


def test_packed_files_are_to_be_unpacked(tmp_path):
    (tmp_path / "sample_train.tar.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"sample_train\.tar\.gz: unpack it"):
        load("ali_ccp", manual_dir=tmp_path, data_dir=tmp_path)


def test_without_files_one_line_says_what_to_get(tmp_path):
    with pytest.raises(InputError, match=r"ali_ccp: no raw files; get sample_skeleton_train\.csv") as caught:
        load("ali_ccp", manual_dir=tmp_path, data_dir=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("arguments", [{"max_rows": 0}, {"min_count": 0}, {"max_rows": 1.5}])
def test_a_bad_argument_is_refused(write, arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        load("ali_ccp", **arguments, **write())


def test_records_of_the_builder_are_the_rows_of_the_files(write, prepared_blocks):
    from third_party.ali_ccp.builder import AliCcp

    folder = write()["manual_dir"]
    rows = skeleton_rows(40, seed=1)
    (block,) = prepared_blocks(AliCcp, folder, config="skeleton")["test"]
    np.testing.assert_array_equal(block["sample_id"], [row[0] for row in rows])
    np.testing.assert_array_equal(block["labels"], [row[1:3] for row in rows])
    np.testing.assert_array_equal(block["ids"][:, ROW_FIELDS.index("205")], [row[4][0][1] for row in rows])
    (block,) = prepared_blocks(AliCcp, folder, config="common")["train"]
    assert [i.decode() for i in block["common_feature_index"]] == [index(user) for user in range(USERS - 1)]
    np.testing.assert_array_equal(block["ids"][:, 0], 500 + np.arange(USERS - 1))


def test_the_real_sample_has_the_published_rates(real_folder, tmp_path):
    folders = {"manual_dir": real_folder("ali_ccp_sample"), "data_dir": tmp_path}
    dataset = load("ali_ccp", **folders)
    assert dataset.provenance["edition"] == "sample"
    assert dataset.provenance["rows"] == {"train": 100, "val": 50, "test": 50}
    rates = dataset.provenance["label_rates"]
    assert {s: r["click"] for s, r in rates.items()} == pytest.approx(
        {"train": 0.07, "val": 0.06, "test": 0.04}
    )
    assert {s: r["purchase"] for s, r in rates.items()} == pytest.approx(
        {"train": 0.01, "val": 0.02, "test": 0.02}
    )
    assert dataset.splits["train"]["ids"].shape == (100, 23)
    assert dataset.splits["train"]["numeric"].shape == (100, 8)
    assert {f["checksum"] for f in dataset.provenance["sample"].values()} == {"published"}
