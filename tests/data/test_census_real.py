import os
from pathlib import Path

import numpy as np
import pytest

from mtl.data import load
from third_party.census_income_kdd import find

TASKS = ("income", "never_married", "college", "some_college")


@pytest.fixture(scope="module")
def real_files():
    given = os.environ.get("MTL_MANUAL_DIR")
    if not given or find(Path(given)) is None:
        pytest.skip("needs MTL_MANUAL_DIR with the raw files of Census-Income (KDD)")
    return given


@pytest.fixture(scope="module")
def census(real_files, tmp_path_factory):
    # Where a folder for prepared sets is named, the studies' tests read it too: one preparation serves all.
    data_dir = os.environ.get("MTL_DATA_DIR") or tmp_path_factory.mktemp("prepared")
    return load("census", tasks=TASKS, data_dir=data_dir, manual_dir=real_files)


def test_rows_are_the_published_ones(census):
    assert census.provenance["rows"] == {"train": 199_523, "val": 49_881, "test": 49_881}
    assert {f["checksum"] for f in census.provenance["files"].values()} == {"published"}


def test_label_rates_are_those_counted_in_the_raw_files(census):
    expected = {
        "train": {
            "income": 12_382 / 199_523,
            "never_married": 86_485 / 199_523,
            "college": 0.19638,
            "some_college": 67_003 / 199_523,
        },
        "official_test": {
            "income": 6_186 / 99_762,
            "never_married": 43_143 / 99_762,
            "college": 0.19502,
            "some_college": 33_410 / 99_762,
        },
    }
    for part, rates in expected.items():
        found = census.provenance["label_rates"][part]
        assert found == pytest.approx(rates, abs=5e-6), part


def test_label_correlations_are_the_known_ones(census):
    found = census.provenance["label_correlation"]
    assert found["income/never_married"] == pytest.approx(-0.178, abs=5e-4)
    assert found["never_married/college"] == pytest.approx(-0.239, abs=5e-4)
    assert found["never_married/some_college"] == pytest.approx(-0.286, abs=5e-4)


def test_no_excluded_column_is_an_input(census):
    names = [c.name.removesuffix("_bucket") for c in census.schema.id_columns]
    inputs = {*names, *census.schema.numeric_columns}
    assert not inputs & {"education", "marital_stat", "income_50k", "instance_weight"}
    assert len(inputs) == 38


def test_every_category_is_used_and_hardly_any_value_is_unseen(census):
    train, test = (census.splits[s]["ids"] for s in ("train", "test"))
    for c, column in enumerate(census.schema.id_columns):
        first = 0 if column.name.endswith("_bucket") else 1
        assert set(np.unique(train[:, c])) == set(range(first, column.vocab_size)), column.name
    categories = [not c.name.endswith("_bucket") for c in census.schema.id_columns]
    assert (test[:, categories] == 0).mean() < 1e-5


def test_quantities_are_standardised_on_the_training_part(census):
    train = census.splits["train"]["numeric"].astype(np.float64)
    np.testing.assert_allclose(train.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(train.std(axis=0), 1.0, atol=1e-5)
