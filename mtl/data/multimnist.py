"""MultiMNIST: pairs of overlapping handwritten digits of MNIST."""

import os

import numpy as np

from mtl.data import arguments
from mtl.data.dataset import SPLITS, Columns, Dataset, Schema
from mtl.data.multimnist_source import Digits, mnist_digits
from mtl.errors import InputError
from mtl.tasks import Task
from third_party import mnist as source

SIDE = source.SIDE
SHIFT = 6
CANVAS = 36
PIXEL_MAX = 255.0

NEAREST = ((np.arange(SIDE) + 0.5) * CANVAS / SIDE).astype(int)
"""The canvas row (or column) whose centre is nearest to that of each row of the small image."""


def multi_mnist(
    num_train: int = 50_000,
    num_val: int = 10_000,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Lays two digits of MNIST over each other and asks for both.

    On a 36×36 canvas the left digit lies at rows and columns 0 … 27, the right one at 6 … 33; where they
    overlap the brighter pixel wins. The canvas is then reduced to 28×28 by the nearest pixel,
    row r of the small image being row ⌊(r + ½)·36/28⌋ of the canvas.

    MNIST's training images are divided between `train` and `val` first, and only then paired within each
    split, so that no image is seen in two splits; `test` is made of its test images. Every image of a
    split is the left digit of one pair, and the right one is drawn at random from the same split.

    Args:
      num_train: images, and so pairs, of `train`.
      num_val: images, and so pairs, of `val`; both together are at most MNIST's 60,000.
      seed: of the division into `train` and `val` and of the pairs.
      data_dir: where fetched files are kept; by default `MTL_DATA_DIR`, else `~/.cache/mtl`.
      manual_dir: where raw files lie; by default `MTL_MANUAL_DIR`.

    Returns:
      A data set with 784 grey values in [0, 1], row by row, and two tasks of ten classes, `left` and `right`.
      One pair takes 3 kB, so `train` and `val` at their default sizes 188 MB.

    Raises:
      InputError: an argument is out of range, or the raw files cannot be had or are damaged.

    Reference: Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018,
      Section 5.1, as in the authors' code; the idea is that of Sabour, Frosst, Hinton, "Dynamic Routing
      Between Capsules", NeurIPS 2017.

    Departures: a validation split is taken from the training images; the authors have none. Grey values are
      divided by 255 and not standardised.
    """
    num_train = arguments.integer("num_train", num_train, 1)
    num_val = arguments.integer("num_val", num_val, 1)
    seed = arguments.integer("seed", seed, 0)
    parts, files = mnist_digits(data_dir, manual_dir)
    available = len(parts["train"].labels)
    if num_train + num_val > available:
        raise InputError(
            f"num_train + num_val is {num_train} + {num_val}, expected at most {available}, the number of "
            "training images"
        )
    split_seed, *pair_seeds = np.random.SeedSequence(seed).spawn(1 + len(SPLITS))
    order = np.random.default_rng(split_seed).permutation(available)
    pools = {
        "train": _take(parts["train"], order[:num_train]),
        "val": _take(parts["train"], order[num_train : num_train + num_val]),
        "test": parts["test"],
    }
    names = tuple(f"pixel_{row}_{column}" for row in range(SIDE) for column in range(SIDE))
    tasks = tuple(Task(name, "multiclass", num_classes=source.NUM_CLASSES) for name in ("left", "right"))
    return Dataset(
        name="multimnist",
        schema=Schema(id_columns=(), numeric_columns=names, tasks=tasks),
        splits={
            split: _pair(np.random.default_rng(child), pools[split])
            for split, child in zip(SPLITS, pair_seeds)
        },
        provenance={
            "source": source.HOMEPAGE,
            "licence": source.LICENCE,
            "citation": source.CITATION,
            "arguments": {"num_train": num_train, "num_val": num_val, "seed": seed},
            "files": files,
            "rows": {split: len(pool.labels) for split, pool in pools.items()},
        },
    )


def _take(digits: Digits, rows: np.ndarray) -> Digits:
    return Digits(digits.images[rows], digits.labels[rows])


def _pair(rng: np.random.Generator, pool: Digits) -> Columns:
    """Pairs every image of a pool, as the left one, with one drawn from the pool."""
    pairs = len(pool.labels)
    right = rng.integers(pairs, size=pairs)
    canvas = np.zeros((pairs, CANVAS, CANVAS), np.uint8)
    canvas[:, :SIDE, :SIDE] = pool.images
    corner = canvas[:, SHIFT : SHIFT + SIDE, SHIFT : SHIFT + SIDE]
    np.maximum(corner, pool.images[right], out=corner)
    small = canvas[:, NEAREST[:, None], NEAREST]
    return {
        "ids": np.zeros((pairs, 0), np.int32),
        "numeric": small.reshape(pairs, SIDE * SIDE) / np.float32(PIXEL_MAX),
        "labels": np.stack([pool.labels, pool.labels[right]], axis=1).astype(np.float32),
    }
