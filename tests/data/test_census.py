import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

import mtl
from mtl.data import load, validate
from mtl.data.census import EXCLUDED, HEAVY_TAILED
from mtl.errors import InputError
from third_party.census_income_kdd.columns import COLUMNS, NUMERIC

INCOME, EDUCATION, MARITAL = (COLUMNS.index(c) for c in ("income_50k", "education", "marital_stat"))


@pytest.fixture
def folders(write_census, train_rows, test_rows):
    return write_census(train_rows, test_rows)


def cells(rows, column):
    return [row[COLUMNS.index(column)].strip() for row in rows]


def evaluation(dataset, key):
    """The official test part back in file order is not known; as a sorted multiset it is."""
    both = np.concatenate([dataset.splits["val"][key], dataset.splits["test"][key]])
    return both[np.lexsort(both.T)]


def test_ids_are_those_of_an_independent_encoder(write_census, train_rows, test_rows):
    test_rows[3][COLUMNS.index("race")] = "Never seen in training"
    test_rows[5][COLUMNS.index("hisp_origin")] = "Never seen either"
    for rows in (train_rows, test_rows):
        for row in rows:
            row[COLUMNS.index("sex")] = "Female" if row[INCOME] == "50000+." else " Male "
    folders = write_census(train_rows, test_rows, folder=".")
    dataset = load("census", numeric="standard", **folders)
    names = [column.name for column in dataset.schema.id_columns]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    train = np.array([cells(train_rows, name) for name in names], object).T
    test = np.array([cells(test_rows, name) for name in names], object).T
    np.testing.assert_array_equal(dataset.splits["train"]["ids"], encoder.fit_transform(train) + 1)
    expected = encoder.transform(test) + 1
    np.testing.assert_array_equal(
        evaluation(dataset, "ids"), expected[np.lexsort(expected.T.astype(np.int32))]
    )
    assert (expected == 0).sum() == 2
    sizes = {column.name: column.vocab_size for column in dataset.schema.id_columns}
    assert sizes["sex"] == 3
    # '?' and 'NA' are categories beside the others; one id more is for the unseen.
    assert sizes["state_prev_res"] == 4
    assert sizes["hisp_origin"] == 3


def test_quantities_are_those_of_an_independent_scaler(folders, train_rows, test_rows):
    dataset = load("census", numeric="standard", **folders)
    names = dataset.schema.numeric_columns
    assert set(names) == set(NUMERIC) - {"instance_weight"}

    def values(rows):
        columns = [np.array(cells(rows, name), np.float64) for name in names]
        return np.stack([np.log1p(c) if n in HEAVY_TAILED else c for n, c in zip(names, columns)], 1)

    scaler = StandardScaler().fit(values(train_rows))
    np.testing.assert_allclose(
        dataset.splits["train"]["numeric"], scaler.transform(values(train_rows)), atol=1e-5
    )
    expected = scaler.transform(values(test_rows)).astype(np.float32)
    np.testing.assert_allclose(
        np.sort(evaluation(dataset, "numeric"), axis=0), np.sort(expected, axis=0), atol=1e-5
    )
    # capital_losses is 0 everywhere: a constant column must not become NaN.
    assert (dataset.splits["train"]["numeric"][:, names.index("capital_losses")] == 0).all()


def test_buckets_cut_at_training_quantiles(write_census, train_rows, test_rows):
    for i, row in enumerate(train_rows):
        row[COLUMNS.index("age")] = str(i)
        row[COLUMNS.index("weeks_worked")] = "52" if i >= 30 else "0"
        # Three quarters are 0; the quartiles of the others, 1 … 15, are 4, 8 and 12.
        row[COLUMNS.index("wage_per_hour")] = str(max(0, i - 44))
        # 5 is frequent and stands between two rare values.
        row[COLUMNS.index("capital_gains")] = "3" if i < 4 else "9" if i < 8 else "5"
    dataset = load("census", numeric="buckets", num_buckets=4, **write_census(train_rows, test_rows))
    columns = {column.name: c for c, column in enumerate(dataset.schema.id_columns)}
    ids = dataset.splits["train"]["ids"]

    def buckets(name):
        return ids[:, columns[f"{name}_bucket"]]

    # No age is frequent; quartiles of 0 … 59 are 14, 29 and 44.
    np.testing.assert_array_equal(buckets("age"), np.repeat([0, 1, 2, 3], 15))
    np.testing.assert_array_equal(buckets("weeks_worked"), np.repeat([0, 1], 30))
    np.testing.assert_array_equal(buckets("wage_per_hour"), np.repeat([0, 1, 2, 3, 4], [45, 4, 4, 4, 3]))
    np.testing.assert_array_equal(buckets("capital_gains"), np.repeat([0, 2, 1], [4, 4, 52]))
    for name, size in (
        ("weeks_worked", 2),
        ("wage_per_hour", 5),
        ("capital_gains", 3),
        ("capital_losses", 1),
    ):
        assert dataset.schema.id_columns[columns[f"{name}_bucket"]].vocab_size == size
    assert dataset.splits["train"]["numeric"].shape == (60, 0)
    assert dataset.schema.numeric_columns == ()


def test_both_is_the_two_together(folders):
    both = load("census", **folders)
    standard = load("census", numeric="standard", **folders)
    buckets = load("census", numeric="buckets", **folders)
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(both.splits[split]["numeric"], standard.splits[split]["numeric"])
        np.testing.assert_array_equal(both.splits[split]["ids"], buckets.splits[split]["ids"])
    assert both.schema.id_columns == buckets.schema.id_columns
    assert len(buckets.schema.id_columns) == len(standard.schema.id_columns) + 7


def test_labels_and_rates_are_those_of_the_definitions(folders, train_rows, test_rows):
    tasks = ("income", "never_married", "college", "some_college")
    dataset = load("census", tasks=tasks, **folders)

    def labels(rows):
        return np.array(
            [
                [
                    row[INCOME] == "50000+.",
                    row[MARITAL] == "Never married",
                    row[EDUCATION].startswith("Bachelors"),
                    row[EDUCATION] != "Children",
                ]
                for row in rows
            ],
            np.float64,
        )

    np.testing.assert_array_equal(dataset.splits["train"]["labels"], labels(train_rows))
    rates = dataset.provenance["label_rates"]
    assert rates["train"] == pytest.approx(dict(zip(tasks, labels(train_rows).mean(0))))
    assert rates["official_test"] == pytest.approx(dict(zip(tasks, labels(test_rows).mean(0))))
    every = np.corrcoef(np.concatenate([labels(train_rows), labels(test_rows)]), rowvar=False)
    assert dataset.provenance["label_correlation"]["income/college"] == pytest.approx(every[0, 2])
    assert len(dataset.provenance["label_correlation"]) == 6


def test_what_labels_are_made_from_is_never_an_input(folders):
    schema = load("census", tasks=("college", "never_married"), **folders).schema
    inputs = {column.name.removesuffix("_bucket") for column in schema.id_columns}
    inputs |= set(schema.numeric_columns)
    assert inputs == set(COLUMNS) - {"education", "marital_stat", "income_50k", "instance_weight"}
    assert set(EXCLUDED) == set(COLUMNS) - inputs


def test_the_official_test_part_is_split_by_the_given_seed(folders):
    one, same, other = (load("census", seed=s, **folders) for s in (0, 0, 1))
    assert one.provenance["rows"] == {"train": 60, "val": 12, "test": 12}
    np.testing.assert_array_equal(one.splits["val"]["ids"], same.splits["val"]["ids"])
    assert not np.array_equal(one.splits["val"]["numeric"], other.splits["val"]["numeric"])
    np.testing.assert_array_equal(evaluation(one, "ids"), evaluation(other, "ids"))
    np.testing.assert_array_equal(one.splits["train"]["ids"], other.splits["train"]["ids"])


def test_parents_are_a_chain_unless_given(folders):
    def parents(**kwargs):
        return {t.name: t.parents for t in load("census", **kwargs, **folders).schema.tasks}

    assert parents() == {"income": (), "never_married": ("income",)}
    assert parents(parents={"income": ["never_married"]}) == {
        "income": ("never_married",),
        "never_married": (),
    }
    assert parents(tasks=("income", "college"), parents={}) == {"income": (), "college": ()}


def test_files_other_than_the_published_ones_are_marked(folders):
    files = load("census", **folders).provenance["files"]
    assert files["train"]["checksum"] == "differs from the published file"
    assert files["train"]["rows"] == 60
    assert files["test"]["file"] == "census-income.test.gz"


def test_provenance_is_json_without_machine_paths(folders, tmp_path):
    text = json.dumps(load("census", **folders).provenance)
    assert str(tmp_path) not in text


def test_once_prepared_the_raw_files_are_not_needed(folders):
    first = load("census", **folders)
    shutil.rmtree(folders["manual_dir"])
    second = load("census", data_dir=folders["data_dir"])
    np.testing.assert_array_equal(first.splits["test"]["ids"], second.splits["test"]["ids"])
    assert first.provenance == second.provenance


def test_files_that_were_packed_again_are_the_same_files(folders):
    first = load("census", **folders)
    packed = folders["manual_dir"] / "census_income_kdd" / "census-income.data.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert load("census", **folders).provenance == first.provenance


def test_other_raw_files_than_the_prepared_ones_are_refused(write_census, train_rows, test_rows):
    load("census", **write_census(train_rows, test_rows))
    folders = write_census(train_rows[:-1], test_rows)
    with pytest.raises(InputError, match=r"census-income\.data\.gz: is not the file that .* delete"):
        load("census", **folders)


def test_the_tfds_part_can_be_read_by_tfds(folders, test_rows):
    load("census", **folders)
    prepared = folders["data_dir"] / "census_income_kdd" / "1.0.0"
    builder = tfds.builder_from_directory(prepared / "tfds" / "census_income_kdd" / "1.0.0")
    records = builder.as_data_source("test")
    assert len(records) == len(test_rows)
    ages = [record["numeric"][0] for record in records]
    assert ages == [float(age) for age in cells(test_rows, "age")]
    assert builder.info.features["categorical"].shape == (34,)
    assert "CC BY 4.0" in builder.info.redistribution_info.license
    assert "Current Population Surveys" in builder.info.description


def test_preparing_prints_nothing_on_stdout_and_loads_no_tensorflow(folders):
    script = (
        "import sys; from mtl.data import load; "
        f"load('census', data_dir={str(folders['data_dir'])!r}, "
        f"manual_dir={str(folders['manual_dir'])!r}); "
        "assert 'tensorflow_datasets' in sys.modules; assert 'tensorflow' not in sys.modules"
    )
    root = Path(mtl.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_splits_pass_validation_and_keep_the_file_order(folders, train_rows):
    dataset = validate(load("census", numeric="standard", **folders))
    ages = np.array(cells(train_rows, "age"), np.float64)
    column = dataset.splits["train"]["numeric"][:, 0]
    np.testing.assert_array_equal(np.argsort(ages, kind="stable"), np.argsort(column, kind="stable"))


@pytest.mark.parametrize(
    "wrong, expected",
    [
        ({"tasks": ("income", "married")}, "unknown census task 'married'"),
        ({"tasks": ()}, r"tasks is \(\), expected a tuple of names"),
        ({"tasks": "income"}, "tasks is 'income', expected a tuple"),
        ({"tasks": (["income"],)}, "unknown census task"),
        ({"tasks": ("income", "income")}, "appears twice"),
        ({"parents": {"college": ("income",)}}, "unknown task in parents 'college'"),
        ({"parents": {"income": ("college",)}}, "parent 'college' is not a task"),
        ({"parents": {"income": "never_married"}}, "expected a tuple of task names"),
        ({"parents": ("income",)}, "expected a dict"),
        (
            {"parents": {"income": ("never_married",), "never_married": ("income",)}},
            "income -> never_married -> income",
        ),
        ({"numeric": "raw"}, "numeric is 'raw', expected one of: standard, buckets, both"),
        ({"num_buckets": 1}, "num_buckets is 1, expected an integer >= 2"),
        ({"seed": 1.5}, r"seed is 1\.5, expected an integer"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_prepared(tmp_path, wrong, expected):
    with pytest.raises(InputError, match=expected):
        load("census", data_dir=tmp_path / "prepared", manual_dir=tmp_path, **wrong)
    assert not (tmp_path / "prepared").exists()
