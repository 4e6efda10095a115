"""Pairs of MNIST digits, made from a few fabricated images in the published layout."""

import gzip
import itertools
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtl.data import load
from mtl.errors import InputError
from third_party import mnist
from third_party.mnist import raw

NUM_TRAIN, NUM_TEST = 30, 12
SMALL = {"num_train": 20, "num_val": 8}
FILES = [f"{file.name}.gz" for file in mnist.FILES.values()]


def idx(values):
    """An IDX file's content: magic, count and shape of an item as big-endian numbers, then bytes."""
    magic = {1: 2049, 3: 2051}[values.ndim]
    return struct.pack(f">{1 + values.ndim}I", magic, *values.shape) + values.astype(np.uint8).tobytes()


@pytest.fixture(scope="module")
def digits():
    """Images by part that all differ, even in the corner that only the left digit can reach."""
    rng = np.random.default_rng(0)
    return {
        part: (rng.integers(0, 256, (count, 28, 28)), rng.permutation(np.arange(count) % 10))
        for part, count in (("train", NUM_TRAIN), ("test", NUM_TEST))
    }


@pytest.fixture
def folders(tmp_path, digits):
    """The loader's folders, with raw files in the manual one."""
    manual = tmp_path / "manual" / "mnist"
    manual.mkdir(parents=True)
    contents = [idx(values) for part in ("train", "test") for values in digits[part]]
    for name, content in zip(FILES, contents, strict=True):
        (manual / name).write_bytes(gzip.compress(content, mtime=0))
    return {"data_dir": tmp_path / "prepared", "manual_dir": tmp_path / "manual"}


def raw_file(folders, key):
    return folders["manual_dir"] / "mnist" / f"{mnist.FILES[key].name}.gz"


def rewrite(folders, key, change):
    path = raw_file(folders, key)
    path.write_bytes(gzip.compress(bytes(change(bytearray(gzip.decompress(path.read_bytes()))))))


def refuse(folders, **arguments):
    with pytest.raises(InputError) as caught:
        load("multimnist", **folders, **{**SMALL, **arguments})
    message = str(caught.value)
    assert "\n" not in message
    return message


def composed(left, right):
    """The recipe as in the paper's code, on Pillow: canvas, brighter pixel, nearest resize."""
    canvas = np.zeros((36, 36), np.uint8)
    canvas[0:28, 0:28] = left
    canvas[6:34, 6:34] = right
    canvas[6:28, 6:28] = np.maximum(left[6:28, 6:28], right[0:22, 0:22])
    return np.asarray(Image.fromarray(canvas).resize((28, 28), Image.Resampling.NEAREST))


@pytest.fixture
def sources(folders, digits):
    """Splits of a data set, and for each the source images of both sides, found from the pixels."""
    dataset = load("multimnist", **folders, **SMALL)
    found = {}
    for split, columns in dataset.splits.items():
        images = digits["test" if split == "test" else "train"][0]
        known = {
            composed(images[i], images[j]).tobytes(): (i, j)
            for i, j in itertools.product(range(len(images)), repeat=2)
        }
        assert len(known) == len(images) ** 2
        pixels = np.rint(columns["numeric"] * 255).astype(np.uint8)
        found[split] = np.array([known[row.tobytes()] for row in pixels])
    return dataset, found


def test_pixels_are_those_of_the_recipe_and_labels_those_of_the_source_images(sources, digits):
    dataset, found = sources
    for split, columns in dataset.splits.items():
        images, labels = digits["test" if split == "test" else "train"]
        expected = np.stack([composed(images[i], images[j]).ravel() for i, j in found[split]])
        np.testing.assert_array_equal(columns["numeric"], expected.astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(columns["labels"], labels[found[split]])


def test_every_image_is_the_left_digit_once_and_no_image_is_in_two_splits(sources):
    _, found = sources
    assert sorted(found["test"][:, 0]) == list(range(NUM_TEST))
    train, val = (set(found[split].ravel()) for split in ("train", "val"))
    assert len(set(found["train"][:, 0])) == 20
    assert len(set(found["val"][:, 0])) == 8
    assert not train & val
    assert set(found["train"][:, 1]) <= set(found["train"][:, 0])


def test_partners_are_drawn_at_random(folders):
    """Over 200 draws, right labels are as frequent as left ones and do not depend on them, within 5 sigma."""
    labels = [load("multimnist", **folders, **SMALL, seed=s).splits["test"]["labels"] for s in range(200)]
    left, right = np.concatenate(labels).T
    counts = np.bincount(right.astype(int), minlength=10)
    share = np.bincount(left.astype(int), minlength=10) / len(left)
    expected = len(right) * share
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()
    assert abs(np.corrcoef(left, right)[0, 1]) < 5 / np.sqrt(len(left))


def test_schema_and_provenance(folders):
    dataset = load("multimnist", **folders, **SMALL)
    assert [(t.name, t.kind, t.num_outputs, t.parents) for t in dataset.schema.tasks] == [
        ("left", "multiclass", 10, ()),
        ("right", "multiclass", 10, ()),
    ]
    assert dataset.provenance["rows"] == {"train": 20, "val": 8, "test": NUM_TEST}
    assert {f["checksum"] for f in dataset.provenance["files"].values()} == {
        "differs from the published file"
    }
    assert json.loads(json.dumps(dataset.provenance)) == dataset.provenance


def test_a_seed_repeats_and_another_differs(folders):
    one, same, other = (load("multimnist", **folders, **SMALL, seed=s) for s in (1, 1, 2))
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(one.splits[split]["numeric"], same.splits[split]["numeric"])
        assert not np.array_equal(one.splits[split]["labels"], other.splits[split]["labels"])


def test_plain_files_in_the_folder_itself_are_found_too(folders):
    expected = load("multimnist", **folders, **SMALL)
    for key in mnist.FILES:
        path = raw_file(folders, key)
        plain = folders["manual_dir"] / mnist.FILES[key].name
        plain.write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    found = load("multimnist", **folders, **SMALL)
    np.testing.assert_array_equal(found.splits["val"]["numeric"], expected.splits["val"]["numeric"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_train": 0}, "num_train is 0, expected an integer >= 1"),
        ({"num_val": 0}, "num_val is 0, expected an integer >= 1"),
        ({"seed": -1}, "seed is -1, expected an integer >= 0"),
        (
            {"num_val": 11},
            "num_train + num_val is 20 + 11, expected at most 30, the number of training images",
        ),
    ],
)
def test_wrong_arguments_are_named(folders, arguments, message):
    assert refuse(folders, **arguments) == message


def test_all_training_images_may_be_used(folders):
    assert load("multimnist", **folders, num_train=20, num_val=10).provenance["rows"]["val"] == 10


@pytest.mark.parametrize(
    "damage",
    [lambda c: c[: len(c) // 2], lambda c: c[:30] + bytes(8) + c[38:], gzip.decompress],
    ids=["truncated", "bytes changed", "not gzip"],
)
def test_a_damaged_gzip_file_is_named(folders, damage):
    path = raw_file(folders, "train_images")
    path.write_bytes(damage(path.read_bytes()))
    message = refuse(folders)
    assert message.startswith(f"{path}: is not the raw file, or is damaged or truncated (")
    assert message.endswith(f"fetch it again from {mnist.URL}")


@pytest.mark.parametrize(
    "key, change, reason",
    [
        ("train_images", lambda c: c[:10], "10 bytes, fewer than the header's 16"),
        ("train_images", lambda c: c[:-1], f"{15 + 784 * 30} bytes, expected {16 + 784 * 30} for 30 items"),
        ("test_labels", lambda c: c + b"\0", "21 bytes, expected 20 for 12 items"),
        ("test_labels", lambda c: b"\0\0\x08\x03" + c[4:], "header [2051], expected [2049]"),
        (
            "test_images",
            lambda c: c[:15] + b"\x1b" + c[16:],
            "header [2051, 28, 27], expected [2051, 28, 28]",
        ),
    ],
)
def test_a_file_of_another_kind_or_length_is_named(folders, key, change, reason):
    rewrite(folders, key, change)
    message = refuse(folders)
    assert message.startswith(f"{raw_file(folders, key)}: ")
    assert reason in message


def test_a_label_that_is_no_digit_is_named(folders):
    rewrite(folders, "train_labels", lambda c: c[:11] + b"\x0a" + c[12:])
    assert refuse(folders).endswith("label 3 is 10, expected one of 0 … 9")


def test_unequal_numbers_of_images_and_labels_are_named(folders):
    rewrite(folders, "train_labels", lambda c: c[:7] + b"\x1d" + c[8:-1])
    assert "the train files hold 30 images and 29 labels" in refuse(folders)


@pytest.mark.parametrize("key", mnist.FILES)
def test_a_missing_file_is_named(folders, key):
    raw_file(folders, key).unlink()
    assert f"{mnist.FILES[key].name}.gz is missing beside " in refuse(folders)


@pytest.fixture
def published(folders, monkeypatch):
    """Makes the fabricated files the published ones, at an address on this machine."""
    address = folders.pop("manual_dir") / "mnist"
    monkeypatch.setattr(raw, "URL", address.as_uri() + "/")
    contents = {key: gzip.decompress((address / f"{f.name}.gz").read_bytes()) for key, f in raw.FILES.items()}
    sums = {key: raw.hashlib.sha256(content).hexdigest() for key, content in contents.items()}
    files = {key: file._replace(sha256=sums[key]) for key, file in raw.FILES.items()}
    for key, file in files.items():
        monkeypatch.setitem(raw.FILES, key, file)
    return address


def test_files_are_fetched_once_and_kept(published, folders, tmp_path):
    first = load("multimnist", **folders, **SMALL)
    assert {f["checksum"] for f in first.provenance["files"].values()} == {"published"}
    kept = folders["data_dir"] / "mnist" / mnist.VERSION
    assert sorted(os.listdir(kept)) == sorted(FILES)
    assert os.listdir(kept.parent) == [mnist.VERSION]
    for path in published.iterdir():
        path.unlink()
    again = load("multimnist", **folders, **SMALL, manual_dir=tmp_path)  # a folder without raw files
    np.testing.assert_array_equal(again.splits["train"]["numeric"], first.splits["train"]["numeric"])


def test_files_that_cannot_be_fetched_are_named_with_what_to_do(published, folders):
    (published / FILES[2]).unlink()
    message = refuse(folders)
    for part in (*FILES, mnist.HOMEPAGE, "--manual_dir or MTL_MANUAL_DIR", "could not be fetched"):
        assert part in message
    assert list((folders["data_dir"] / "mnist").iterdir()) == []


def test_a_fetched_file_that_is_not_the_published_one_is_refused(published, folders):
    name = FILES[3]
    content = bytearray(gzip.decompress((published / name).read_bytes()))
    content[-1] = (content[-1] + 1) % 10
    (published / name).write_bytes(gzip.compress(bytes(content)))
    assert f"{name}: sha256 of the content is " in refuse(folders)
    assert list((folders["data_dir"] / "mnist").iterdir()) == []


def test_a_data_folder_that_cannot_be_written_is_named(published, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "cannot be written" in refuse({"data_dir": tmp_path / "file"})


@pytest.fixture
def real_files():
    """The folder of the published files, where the machine has them."""
    folder = os.environ.get("MTL_MANUAL_DIR")
    if not folder or mnist.find(Path(folder)) is None:
        pytest.skip("needs MNIST's raw files; set MTL_MANUAL_DIR to their folder")
    return folder


def test_the_published_files_are_recognised(real_files):
    dataset = load("multimnist", manual_dir=real_files, num_train=500, num_val=100)
    files = dataset.provenance["files"]
    assert {f["checksum"] for f in files.values()} == {"published"}
    assert [f["items"] for f in files.values()] == [60_000, 60_000, 10_000, 10_000]
    # Counts per class of MNIST's test labels.
    counts = np.bincount(dataset.splits["test"]["labels"][:, 0].astype(int))
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
