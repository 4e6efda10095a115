"""MultiDigits: pairs of overlapping handwritten digits from the set that scikit-learn bundles."""

import numpy as np

from mtl.data import arguments
from mtl.data.dataset import SPLITS, Columns, Dataset, Schema
from mtl.tasks import Task

SIDE = 8
CANVAS = 12
PIXEL_MAX = 16.0
SPLIT_SHARES = (0.6, 0.2, 0.2)


def multi_digits(
    num_train: int = 10_000, num_val: int = 2_000, num_test: int = 2_000, seed: int = 0
) -> Dataset:
    """Lays two 8×8 digits over each other and asks for both.

    The 1,797 source images are split 60/20/20 first, and only then paired within each split, so that
    no image is seen in two splits. The left digit lies up-left and the right one down-right on a 12×12
    canvas; where they overlap (4×4 pixels) the brighter pixel wins.

    Args:
      num_train: pairs of `train`, drawn with replacement from 1,078 images a side.
      num_val: pairs of `val`, drawn from 359 images a side.
      num_test: pairs of `test`, drawn from 360 images a side.
      seed: of the split and of the pairs.

    Returns:
      A data set with 144 pixels in [0, 1], row by row, and two tasks of ten classes, `left` and `right`.

    Raises:
      InputError: an argument is out of range.

    Reference: the recipe is MultiMNIST's (Sabour, Frosst, Hinton, "Dynamic Routing Between Capsules",
      NeurIPS 2017; Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS
      2018, Section 5.1).

    Departures: MNIST is replaced by UCI's smaller digits, which need no download; the overlap is 4 of
      8 pixels a side instead of 20 of 28.
    """
    sizes = {
        split: arguments.integer(f"num_{split}", pairs, 1)
        for split, pairs in zip(SPLITS, (num_train, num_val, num_test))
    }
    seed = arguments.integer("seed", seed, 0)
    # Imported here: scikit-learn takes a second to load, and other data sets do not need it.
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    split_seed, *pair_seeds = np.random.SeedSequence(seed).spawn(1 + len(SPLITS))
    pools = _split(np.random.default_rng(split_seed), len(digits))
    splits = {
        split: _pair(np.random.default_rng(child), images, digits, pool, sizes[split])
        for split, pool, child in zip(SPLITS, pools, pair_seeds)
    }
    names = tuple(f"pixel_{row}_{column}" for row in range(CANVAS) for column in range(CANVAS))
    tasks = tuple(Task(name, "multiclass", num_classes=10) for name in ("left", "right"))
    return Dataset(
        name="digits",
        schema=Schema(id_columns=(), numeric_columns=names, tasks=tasks),
        splits=splits,
        provenance={
            "source": "UCI Optical Recognition of Handwritten Digits, as bundled in scikit-learn",
            "licence": "CC BY 4.0",
            "citation": "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI "
            "Machine Learning Repository, 10.24432/C50P49",
            "arguments": {**{f"num_{split}": n for split, n in sizes.items()}, "seed": seed},
            "source_images": {split: len(pool) for split, pool in zip(SPLITS, pools)},
        },
    )


def _split(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    cuts = (np.cumsum(SPLIT_SHARES[:-1]) * count).astype(int)
    return np.split(rng.permutation(count), cuts)


def _pair(
    rng: np.random.Generator, images: np.ndarray, digits: np.ndarray, pool: np.ndarray, pairs: int
) -> Columns:
    left, right = rng.choice(pool, size=(2, pairs))
    canvas = np.zeros((2, pairs, CANVAS, CANVAS), np.float32)
    canvas[0, :, :SIDE, :SIDE] = images[left].reshape(-1, SIDE, SIDE)
    canvas[1, :, -SIDE:, -SIDE:] = images[right].reshape(-1, SIDE, SIDE)
    return {
        "ids": np.zeros((pairs, 0), np.int32),
        "numeric": canvas.max(axis=0).reshape(pairs, CANVAS * CANVAS) / np.float32(PIXEL_MAX),
        "labels": np.stack([digits[left], digits[right]], axis=1).astype(np.float32),
    }
