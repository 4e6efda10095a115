import itertools
import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mtl.data import load, multi_digits
from mtl.errors import InputError

SMALL = {"num_train": 3000, "num_val": 400, "num_test": 400}


@pytest.fixture(scope="module")
def dataset():
    return load("digits", **SMALL)


def clear_pixels(side):
    """Mask of the canvas pixels that only this side's digit can reach."""
    left, right = np.zeros((12, 12), bool), np.zeros((12, 12), bool)
    left[:8, :8] = True
    right[4:, 4:] = True
    return (left & ~right if side == "left" else right & ~left).ravel()


def on_canvas(image, side):
    canvas = np.zeros((12, 12))
    where = slice(0, 8) if side == "left" else slice(4, 12)
    canvas[where, where] = image
    return canvas.ravel()


@pytest.fixture(scope="module")
def sources(dataset):
    """For each split and side the positions of the source images, found from the pixels."""
    images = load_digits().images
    found = {}
    for side in ("left", "right"):
        clear = clear_pixels(side)
        known = {on_canvas(image, side)[clear].tobytes(): i for i, image in enumerate(images)}
        assert len(known) == len(images), "the clear pixels do not identify an image"
        for split, columns in dataset.splits.items():
            pixels = np.rint(columns["numeric"].astype(np.float64) * 16)
            found[split, side] = np.array([known[row[clear].tobytes()] for row in pixels])
    return found


def test_pixels_are_the_brighter_of_both_digits(dataset, sources):
    images = load_digits().images
    for split, columns in dataset.splits.items():
        for row, left, right in zip(columns["numeric"], sources[split, "left"], sources[split, "right"]):
            both = [on_canvas(images[left], "left"), on_canvas(images[right], "right")]
            np.testing.assert_array_equal(row * 16, np.maximum(*both))


def test_labels_are_those_of_the_source_images(dataset, sources):
    digits = load_digits().target
    for split, columns in dataset.splits.items():
        for t, side in enumerate(("left", "right")):
            np.testing.assert_array_equal(columns["labels"][:, t], digits[sources[split, side]])


def test_no_source_image_is_in_two_splits(sources):
    used = {split: {*sources[split, "left"], *sources[split, "right"]} for split in ("train", "val", "test")}
    for one, other in itertools.combinations(used.values(), 2):
        assert not one & other
    # 3000 pairs draw nearly every one of the 1078 training images.
    assert len(used["train"]) > 1000


def test_sides_are_drawn_independently(dataset):
    labels = dataset.splits["train"]["labels"]
    assert abs(np.corrcoef(labels, rowvar=False)[0, 1]) < 5 / np.sqrt(len(labels))


def test_schema_and_provenance(dataset):
    assert [(t.name, t.kind, t.num_outputs, t.parents) for t in dataset.schema.tasks] == [
        ("left", "multiclass", 10, ()),
        ("right", "multiclass", 10, ()),
    ]
    assert dataset.splits["val"]["numeric"].shape == (400, 144)
    assert dataset.splits["val"]["numeric"].max() == 1.0
    assert dataset.provenance["source_images"] == {"train": 1078, "val": 359, "test": 360}
    assert json.loads(json.dumps(dataset.provenance)) == dataset.provenance


def test_a_seed_repeats_and_another_differs():
    few = {"num_train": 5, "num_val": 5, "num_test": 5}
    one, same, other = (multi_digits(seed=s, **few).splits["test"]["numeric"] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match="num_val is 0, expected an integer >= 1"):
        multi_digits(num_val=0)
    with pytest.raises(InputError, match="seed is -1, expected an integer >= 0"):
        multi_digits(seed=-1)
