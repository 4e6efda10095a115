import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.data import load, mmoe_synthetic, validate
from mtl.errors import InputError

SMALL = {"dim": 8, "num_train": 40, "num_val": 5, "num_test": 5}


def float64_split(dataset, split="train"):
    columns = dataset.splits[split]
    return columns["numeric"].astype(np.float64), columns["labels"].astype(np.float64)


def recovered_weights(**kwargs):
    """Weight vectors by least squares from the linear, noise-free twin of a data set."""
    x, y = float64_split(mmoe_synthetic(**{**SMALL, **kwargs, "num_sines": 0, "noise_std": 0.0}))
    return np.linalg.lstsq(x, y, rcond=None)[0].T


def cosines(weights):
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize("p", [-1.0, -0.3, 0.0, 0.5, 1.0])
def test_weights_have_the_cosine_and_length_asked_for(p):
    weights = recovered_weights(correlation=p, scale=0.3)
    np.testing.assert_allclose(cosines(weights), [[1, p], [p, 1]], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(weights, axis=1), 0.3, rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**6))
def test_any_correlation_matrix_is_met_even_a_singular_one(num_tasks, rank, seed):
    factor = np.random.default_rng(seed).standard_normal((num_tasks, rank))
    matrix = cosines(factor)
    dataset = mmoe_synthetic(matrix.tolist(), num_tasks, seed=seed, **SMALL)
    np.testing.assert_allclose(dataset.provenance["weight_cosines"], matrix, atol=1e-7)
    weights = recovered_weights(correlation=matrix.tolist(), num_tasks=num_tasks, seed=seed)
    np.testing.assert_allclose(cosines(weights), matrix, atol=1e-5)


def test_lowest_common_correlation_of_five_tasks():
    dataset = mmoe_synthetic(-0.25, num_tasks=5, **SMALL)
    expected = np.full((5, 5), -0.25) + 1.25 * np.eye(5)
    np.testing.assert_allclose(dataset.provenance["weight_cosines"], expected, atol=1e-7)


def test_labels_follow_the_recipe_with_the_same_sines_for_all_tasks():
    arguments = {"correlation": 0.2, "num_tasks": 3, "seed": 4, **SMALL}
    _, z = float64_split(mmoe_synthetic(**arguments, num_sines=0, noise_std=0.0))
    dataset = mmoe_synthetic(**arguments, noise_std=0.0)
    _, y = float64_split(dataset)
    alpha, beta = dataset.provenance["alpha"], dataset.provenance["beta"]
    assert len(alpha) == len(beta) == 10
    sines = sum(np.sin(a * z + b) for a, b in zip(alpha, beta))
    np.testing.assert_allclose(y, z + sines, atol=5e-6)


def test_noise_has_the_given_standard_deviation_and_differs_between_tasks():
    arguments = {"dim": 4, "num_train": 20_000, "num_val": 2, "num_test": 2}
    _, clean = float64_split(mmoe_synthetic(**arguments, noise_std=0.0))
    _, noisy = float64_split(mmoe_synthetic(**arguments))
    noise = noisy - clean
    # Sampling error of a standard deviation is σ / √(2 n) = 0.0005; five of those are allowed.
    np.testing.assert_allclose(noise.std(axis=0), 0.1, atol=0.0025)
    assert abs(np.corrcoef(noise, rowvar=False)[0, 1]) < 5 / np.sqrt(20_000)


def test_label_correlation_of_linear_tasks_is_the_closed_form():
    dataset = mmoe_synthetic(0.6, dim=4, num_train=50_000, num_val=2, num_test=2, num_sines=0, noise_std=0.5)
    measured = dataset.provenance["label_correlation"][0][1]
    assert measured == pytest.approx(0.6 / (1 + 0.5**2), abs=0.02)


def test_label_correlation_rises_with_the_knob():
    measured = [
        mmoe_synthetic(p, num_train=4000).provenance["label_correlation"][0][1]
        for p in (-1.0, -0.5, 0.0, 0.5, 0.9, 1.0)
    ]
    assert measured == sorted(measured)
    assert measured[-1] > 0.95


def test_inputs_are_standard_normal():
    x, _ = float64_split(mmoe_synthetic(dim=10, num_train=20_000))
    assert np.abs(x.mean(axis=0)).max() < 5 / np.sqrt(20_000)
    np.testing.assert_allclose(np.cov(x, rowvar=False), np.eye(10), atol=0.05)


def test_the_knob_changes_weights_only():
    one, other = mmoe_synthetic(0.9, **SMALL), mmoe_synthetic(0.1, **SMALL)
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(one.splits[split]["numeric"], other.splits[split]["numeric"])
    assert one.provenance["alpha"] == other.provenance["alpha"]
    assert not np.array_equal(one.splits["train"]["labels"], other.splits["train"]["labels"])


def test_a_seed_repeats_and_another_differs():
    one, same, other = (mmoe_synthetic(seed=s, **SMALL) for s in (3, 3, 4))
    np.testing.assert_array_equal(one.splits["test"]["labels"], same.splits["test"]["labels"])
    assert not np.array_equal(one.splits["test"]["labels"], other.splits["test"]["labels"])


def test_splits_do_not_repeat_each_other():
    splits = mmoe_synthetic(**SMALL).splits
    first_rows = {tuple(splits[split]["numeric"][0]) for split in splits}
    assert len(first_rows) == 3


def test_schema_and_provenance():
    dataset = load("mmoe_synthetic", num_tasks=3, **SMALL)
    assert [(t.name, t.kind, t.parents) for t in dataset.schema.tasks] == [
        ("task_1", "regression", ()),
        ("task_2", "regression", ("task_1",)),
        ("task_3", "regression", ("task_2",)),
    ]
    assert json.loads(json.dumps(dataset.provenance)) == dataset.provenance
    _, y = float64_split(dataset)
    np.testing.assert_allclose(dataset.provenance["label_mean"], y.mean(axis=0))
    np.testing.assert_allclose(dataset.provenance["label_sd"], y.std(axis=0))


def test_a_single_task():
    dataset = validate(mmoe_synthetic(num_tasks=1, **SMALL))
    assert dataset.provenance["weight_cosines"] == [[pytest.approx(1.0)]]
    assert dataset.provenance["label_correlation"] == [[pytest.approx(1.0)]]


@pytest.mark.parametrize(
    "wrong, expected",
    [
        ({"correlation": 1.5}, r"correlation is 1\.5, expected a number in \[-1, 1\]"),
        ({"correlation": float("nan")}, "correlation is nan"),
        ({"correlation": "half"}, "correlation is 'half'"),
        ({"correlation": -0.6, "num_tasks": 3}, r"at least -1/\(T-1\) = -0\.5"),
        ({"correlation": [[1, 0.5]]}, r"shape \(1, 2\), expected \(2, 2\)"),
        ({"correlation": [[1, 0.5], [0.5]]}, "a square matrix of numbers"),
        ({"correlation": [[1, 0.5], [0.4, 1]]}, "not symmetric"),
        ({"correlation": [[2, 0], [0, 1]]}, r"not a number in \[-1, 1\]"),
        ({"correlation": [[0.5, 0], [0, 1]]}, "diagonal entry that is not 1"),
        (
            {"correlation": [[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]], "num_tasks": 3},
            "not positive semi-definite",
        ),
        ({"num_tasks": 0}, "num_tasks is 0, expected an integer >= 1"),
        ({"num_tasks": 2.0}, r"num_tasks is 2\.0, expected an integer"),
        ({"dim": 1}, "dim is 1, expected at least num_tasks = 2"),
        ({"num_val": 0}, "num_val is 0, expected an integer >= 2"),
        ({"scale": 0.0}, "scale is 0"),
        ({"noise_std": -0.1}, r"noise_std is -0\.1, expected a number >= 0"),
        ({"noise_std": True}, "noise_std is True"),
        ({"label_scales": (1.0,)}, r"label_scales is \(1.0,\), expected 2 numbers > 0, one per task"),
        ({"label_scales": (1.0, 0.0)}, "expected 2 numbers > 0, one per task"),
        ({"label_scales": "big"}, "label_scales is 'big'"),
        ({"num_sines": -1}, "num_sines is -1"),
        ({"seed": "0"}, "seed is '0', expected an integer"),
    ],
)
def test_wrong_arguments_are_named(wrong, expected):
    with pytest.raises(InputError, match=expected) as caught:
        mmoe_synthetic(**{**SMALL, **wrong})
    assert "\n" not in str(caught.value)


def test_label_scales_change_nothing_else():
    plain, scaled = (mmoe_synthetic(**SMALL, label_scales=scales) for scales in (None, (1.0, 10.0)))
    for split, columns in plain.splits.items():
        np.testing.assert_array_equal(scaled.splits[split]["numeric"], columns["numeric"])
        expected = columns["labels"] * np.float32([1.0, 10.0])
        np.testing.assert_allclose(scaled.splits[split]["labels"], expected, rtol=1e-6)
