"""A funnel with known truth: impression → click → cart → purchase, with users and items that have ids."""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy

from mtl.data import arguments
from mtl.data.cache import data_folder
from mtl.data.dataset import SPLITS, Columns, Dataset, IdColumn, Schema
from mtl.data.shards import Contents, dataset_of, residence, sharded
from mtl.data.windows import WINDOW_ROWS
from mtl.errors import InputError
from mtl.progress import track
from mtl.tasks import Task

CALIBRATION_ROWS = 200_000
"""Rows on which intercepts are found: rows of their own, so that they do not depend on the splits' sizes."""

CHUNK_ROWS = 262_144
"""Training rows that are drawn at a time where they go to disk."""

FARTHEST = 60.0
"""Intercepts are sought between minus and plus this."""


class _World(NamedTuple):
    """What is drawn once: latent vectors of users and items, directions, and intercepts."""

    users: np.ndarray
    items: np.ndarray
    directions: np.ndarray
    intercepts: np.ndarray


def funnel_synthetic(
    click_rate: float = 0.04,
    conversion_rate: float = 0.005,
    cart_rate: float = 0.1,
    with_cart: bool = False,
    direct: float = 0.3,
    relatedness: float = 0.5,
    selection: float = 1.0,
    strength: float = 1.0,
    num_users: int = 1_000,
    num_items: int = 500,
    dim: int = 8,
    num_train: int = 100_000,
    num_val: int = 20_000,
    num_test: int = 20_000,
    seed: int = 0,
    world_seed: int | None = None,
) -> Dataset:
    """Draws impressions whose clicks and purchases have known conditional probabilities.

        x ~ N(0, I_dim),   s_k = (d_k · x + ⟨a_kᵤ, b_kᵢ⟩) · strength/√2
        P(click | x) = σ(c_1 + selection · s_1),   P(purchase | click, x) = σ(c_2 + ρ s_1 + √(1 − ρ²) s_2)

    d_k are unit vectors, and the second term, of variance 1, is the taste of user u for item i, from latent
    vectors of both. ρ is `relatedness`: with ρ ≠ 0 clicked impressions have other conversion rates than the
    others, which is the selection bias; `selection` says how strongly clicks are selected by s_1. Intercepts
    c are found so that the rates of the whole population are those asked for. With a cart between, P(cart |
    click, x) and P(purchase | cart, x) take the place of the last line, and P(purchase | click, no cart, x)
    is `direct` times the latter's odds.

    The true probability of every event given what it requires is in the column `truth` of `val` and `test`,
    for **all** impressions, clicked or not.

    Args:
      click_rate: mean of P(click), in (0, 1).
      conversion_rate: mean of P(purchase | click) over *all* impressions, in (0, 1). That of the clicked
        ones is higher if `relatedness` and `selection` are positive.
      cart_rate: mean of P(cart | click) over all impressions; used with a cart only.
      with_cart: whether there is a task `cart` between; a purchase then has the parents click and cart, and
        requires the click, and the cart too if `direct` is 0.
      direct: ≥ 0, how large the odds of a purchase without cart are beside those with.
      relatedness: ρ in [−1, 1].
      selection: ≥ 0, scale of the click's score; 0 clicks at random.
      strength: > 0, standard deviation of a score.
      num_users: users with ids 1 …; id 0 is unseen.
      num_items: likewise items.
      dim: number of numeric features.
      num_train: rows of `train`, at least 2.
      num_val: rows of `val`, at least 2.
      num_test: rows of `test`, at least 2.
      seed: seed of everything random.
      world_seed: seed of users, items, directions and intercepts alone, to draw new impressions of one and
        the same world; None takes `seed`.

    Returns:
      A data set with ids `user` and `item`, `dim` standard normal features, and the tasks `click`, `cart`
      (if asked for) and `purchase`.

    Raises:
      InputError: an argument is out of range, or a split has no event of some task.

    Reference: the setting is that of Ma et al., Entire Space Multi-Task Model, SIGIR 2018, and, with a cart,
      of Wen et al., ESM2, SIGIR 2020; the recipe is this project's own.
    """
    recipe = _recipe(
        {"click_rate": click_rate, "cart_rate": cart_rate, "conversion_rate": conversion_rate},
        with_cart,
        {"direct": direct, "relatedness": relatedness, "selection": selection, "strength": strength},
        {"num_users": num_users, "num_items": num_items, "dim": dim},
        {"train": num_train, "val": num_val, "test": num_test},
        seed,
        world_seed,
    )
    splits = {}
    for split, child in recipe.seeds.items():
        splits[split] = _draw(child, recipe.sizes[split], recipe.world, recipe.knobs)
        if split == "train":
            del splits[split]["truth"]
        for t, task in enumerate(recipe.schema.tasks):
            if not splits[split]["labels"][:, t].any():
                raise _no_event("funnel_synthetic", task, split, recipe.sizes[split])
    tasks = recipe.schema.tasks
    rates = {
        split: {task.name: float(rate) for task, rate in zip(tasks, columns["labels"].mean(axis=0))}
        for split, columns in splits.items()
    }
    return Dataset(
        name="funnel_synthetic",
        schema=recipe.schema,
        splits=splits,
        provenance=_provenance(recipe, splits["test"]) | {"label_rates": rates},
    )


def funnel_shards(
    click_rate: float = 0.04,
    conversion_rate: float = 0.005,
    cart_rate: float = 0.1,
    with_cart: bool = False,
    direct: float = 0.3,
    relatedness: float = 0.5,
    selection: float = 1.0,
    strength: float = 1.0,
    num_users: int = 1_000,
    num_items: int = 500,
    dim: int = 8,
    num_train: int = 1_000_000,
    num_val: int = 20_000,
    num_test: int = 20_000,
    seed: int = 0,
    world_seed: int | None = None,
    in_memory: bool | None = None,
    window_rows: int = WINDOW_ROWS,
    data_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Draws the funnel of `funnel_synthetic` into shards on disk, for more rows than memory holds.

    The world, the law of a row, and validation and test are those of `funnel_synthetic` with the same
    arguments; training rows are other draws, made 262,144 at a time. The first call writes them below
    `data_dir`, 4·(2 + dim + tasks) bytes a row; later calls open what is there.

    Args:
      click_rate: as `funnel_synthetic`; so are all up to `world_seed`.
      conversion_rate: likewise.
      cart_rate: likewise.
      with_cart: likewise.
      direct: likewise.
      relatedness: likewise.
      selection: likewise.
      strength: likewise.
      num_users: likewise.
      num_items: likewise.
      dim: likewise.
      num_train: likewise.
      num_val: likewise.
      num_test: likewise.
      seed: likewise.
      world_seed: likewise.
      in_memory: whether the training split is read into memory; None where it has 256 MiB or less.
      window_rows: rows that a run holds in memory while the split streams, see `mtl.data.windows`.
      data_dir: where prepared sets live; by default `MTL_DATA_DIR`, else `~/.cache/mtl`.

    Returns:
      The data set; its training split streams unless it is in memory.

    Raises:
      InputError: an argument is out of range, a split has no event of some task, or the shards cannot be
        written or are damaged.
    """
    recipe = _recipe(
        {"click_rate": click_rate, "cart_rate": cart_rate, "conversion_rate": conversion_rate},
        with_cart,
        {"direct": direct, "relatedness": relatedness, "selection": selection, "strength": strength},
        {"num_users": num_users, "num_items": num_items, "dim": dim},
        {"train": num_train, "val": num_val, "test": num_test},
        seed,
        world_seed,
    )
    how = residence(in_memory, window_rows, max(num_val, num_test))

    def prepare(work: Path) -> Contents:
        del work
        test = _draw(recipe.seeds["test"], recipe.sizes["test"], recipe.world, recipe.knobs)
        return Contents(recipe.schema, partial(_chunks, recipe, test), _provenance(recipe, test))

    version = hashlib.sha256(json.dumps(recipe.given, sort_keys=True).encode()).hexdigest()[:16]
    shards = sharded(data_folder(data_dir) / "funnel_shards" / version, "funnel_shards", prepare)
    for split, rates in shards.facts["label_rates"].items():
        for task in recipe.schema.tasks:
            if not rates[task.name]:
                raise _no_event("funnel_shards", task, split, recipe.sizes[split])
    return dataset_of(shards, "funnel_shards", {}, how)


class _Recipe(NamedTuple):
    """The arguments, checked, and what follows from them before a row is drawn."""

    given: dict[str, Any]
    schema: Schema
    world: _World
    knobs: dict[str, float]
    sizes: dict[str, int]
    seeds: dict[str, np.random.SeedSequence]


def _recipe(
    rates: dict[str, float],
    with_cart: bool,
    knobs: dict[str, float],
    counts: dict[str, int],
    sizes: dict[str, int],
    seed: int,
    world_seed: int | None,
) -> _Recipe:
    rates = {name: _rate(name, value) for name, value in rates.items()}
    if not isinstance(with_cart, bool):
        raise InputError(f"with_cart is {with_cart!r}, expected true or false")
    low, high = {"relatedness": -1.0}, {"relatedness": 1.0}
    knobs = {k: arguments.real(k, v, low.get(k, 0.0), high.get(k, math.inf)) for k, v in knobs.items()}
    counts = {name: arguments.integer(name, value, 1) for name, value in counts.items()}
    sizes = {split: arguments.integer(f"num_{split}", rows, 2) for split, rows in sizes.items()}
    seed = arguments.integer("seed", seed, 0)
    world_seed = seed if world_seed is None else arguments.integer("world_seed", world_seed, 0)
    targets = list(rates.values()) if with_cart else [rates["click_rate"], rates["conversion_rate"]]
    children = np.random.SeedSequence(seed).spawn(1 + len(SPLITS))[1:]
    return _Recipe(
        given={**rates, "with_cart": with_cart, **knobs, **counts}
        | {f"num_{split}": rows for split, rows in sizes.items()}
        | {"seed": seed, "world_seed": world_seed},
        schema=Schema(
            id_columns=(
                IdColumn("user", counts["num_users"] + 1, "user"),
                IdColumn("item", counts["num_items"] + 1, "item"),
            ),
            numeric_columns=tuple(f"x_{i + 1}" for i in range(counts["dim"])),
            tasks=_tasks(with_cart, knobs["direct"]),
        ),
        world=_world(np.random.SeedSequence(world_seed), counts, targets, knobs),
        knobs=knobs,
        sizes=sizes,
        seeds=dict(zip(SPLITS, children, strict=True)),
    )


def _chunks(recipe: _Recipe, test: Columns, done: int) -> Iterator[tuple[str, Columns]]:
    """The rows of all splits but the first chunks, those of `train` in chunks with a seed each."""
    if done < 1:
        yield "val", _draw(recipe.seeds["val"], recipe.sizes["val"], recipe.world, recipe.knobs)
    if done < 2:
        yield "test", test
    rows, first = recipe.sizes["train"], max(done - 2, 0)
    starts = range(0, rows, CHUNK_ROWS)
    seeds = recipe.seeds["train"].spawn(len(starts))[first:]
    starts = starts[first:]
    for start, seed in zip(track(starts, len(starts), "funnel_shards: chunks"), seeds):
        chunk = _draw(seed, min(CHUNK_ROWS, rows - start), recipe.world, recipe.knobs)
        del chunk["truth"]
        yield "train", chunk


def _no_event(name: str, task: Task, split: str, rows: int) -> InputError:
    return InputError(
        f"{name}: no {task.name} among the {rows} rows of split {split!r}; raise num_{split} or the rates"
    )


def _rate(name: str, value: Any) -> float:
    rate = arguments.real(name, value, 0.0, 1.0)
    if rate in (0.0, 1.0):
        raise InputError(f"{name} is {value!r}, expected a number between 0 and 1, both excluded")
    return rate


def _tasks(with_cart: bool, direct: float) -> tuple[Task, ...]:
    click = Task("click")
    if not with_cart:
        return click, Task("purchase", parents=("click",), requires=("click",))
    required = ("click",) if direct else ("cart",)
    return (
        click,
        Task("cart", parents=("click",), requires=("click",)),
        Task("purchase", parents=("click", "cart"), requires=required),
    )


def _world(
    seed: np.random.SeedSequence, counts: dict[str, int], targets: list[float], knobs: dict[str, float]
) -> _World:
    user_seed, item_seed, direction_seed, row_seed = seed.spawn(4)
    stages, latent = len(targets), 4
    users = np.random.default_rng(user_seed).standard_normal((counts["num_users"], stages, latent))
    items = np.random.default_rng(item_seed).standard_normal((counts["num_items"], stages, latent))
    directions = np.random.default_rng(direction_seed).standard_normal((stages, counts["dim"]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    world = _World(users, items / math.sqrt(latent), directions, np.zeros(stages))
    _, _, _, scores = _rows(row_seed, CALIBRATION_ROWS, world, knobs)
    intercepts: list[float] = []
    for stage, target in enumerate(targets):
        cart = scipy.special.expit(scores[1] + intercepts[1]) if stage == 2 else np.ones(())
        intercepts.append(_intercept(scores[stage], target, cart, knobs["direct"]))
    return world._replace(intercepts=np.array(intercepts))


def _intercept(score: np.ndarray, target: float, cart: np.ndarray, direct: float) -> float:
    """The c at which the mean probability is the target; see `_both_ways`."""

    def excess(c: float) -> float:
        return _both_ways(c + score, cart, direct)[0].mean() - target

    if excess(FARTHEST) <= 0:
        raise InputError(
            f"conversion_rate is {target:g}, but with direct = 0 only the {cart.mean():.3g} with a cart can "
            "buy; lower it, or raise cart_rate or direct"
        )
    return float(scipy.optimize.brentq(excess, -FARTHEST, FARTHEST))


def _both_ways(score: np.ndarray, cart: np.ndarray, direct: float) -> tuple[np.ndarray, ...]:
    """P(purchase | click), and that with and without a cart, from the logit with a cart."""
    with_cart = scipy.special.expit(score)
    without = direct * with_cart / (direct * with_cart + scipy.special.expit(-score))
    return cart * with_cart + (1.0 - cart) * without, with_cart, without


def _rows(
    seed: np.random.SeedSequence, rows: int, world: _World, knobs: dict[str, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Users, items, features and the scores of every stage `[stages, rows]`, without intercepts."""
    rng = np.random.default_rng(seed)
    users = rng.integers(0, len(world.users), rows)
    items = rng.integers(0, len(world.items), rows)
    # Rounded to float32 before the labels are drawn, so that they belong to the features as stored.
    x = rng.standard_normal((rows, world.directions.shape[1])).astype(np.float32)
    taste = np.einsum("nkl,nkl->kn", world.users[users], world.items[items])
    own = (world.directions @ x.T.astype(np.float64) + taste) * knobs["strength"] / math.sqrt(2)
    rho = knobs["relatedness"]
    later = rho * own[0] + math.sqrt(1 - rho**2) * own[1:]
    return users, items, x, np.concatenate([knobs["selection"] * own[:1], later])


def _draw(seed: np.random.SeedSequence, rows: int, world: _World, knobs: dict[str, float]) -> Columns:
    row_seed, event_seed = seed.spawn(2)
    users, items, x, scores = _rows(row_seed, rows, world, knobs)
    rates = scipy.special.expit(scores + world.intercepts[:, None])
    draws = np.random.default_rng(event_seed).random(rates.shape)
    happens = draws < rates
    labels = [happens[0]]
    truth = [rates[0]]
    if len(rates) == 3:
        cart = rates[1]
        bought, with_cart, without = _both_ways(scores[2] + world.intercepts[2], cart, knobs["direct"])
        labels.append(happens[0] & happens[1])
        truth.append(cart)
        labels.append(happens[0] & (draws[2] < np.where(happens[1], with_cart, without)))
        # Given the click where a purchase does not require the cart, else given the cart.
        truth.append(bought if knobs["direct"] else with_cart)
    else:
        labels.append(happens[0] & happens[1])
        truth.append(rates[1])
    return {
        "ids": np.stack([users + 1, items + 1], axis=1).astype(np.int32),
        "numeric": x,
        "labels": np.stack(labels, axis=1).astype(np.float32),
        "truth": np.stack(truth, axis=1).astype(np.float32),
    }


def _mean_deviation(values: np.ndarray) -> float:
    return float(np.abs(values - np.median(values)).mean(dtype=np.float64))


def _provenance(recipe: _Recipe, test: Columns) -> dict[str, Any]:
    clicked = test["labels"][:, 0] == 1
    return {
        "source": "generated: a funnel with known conditional probabilities, this project's own recipe",
        "arguments": recipe.given,
        "intercepts": recipe.world.intercepts.tolist(),
        "true_rates_on_test": {
            task.name: {
                "all": float(test["truth"][:, t].mean()),
                "clicked": float(test["truth"][clicked, t].mean()),
                "not_clicked": float(test["truth"][~clicked, t].mean()),
                # The errors of the best constant there: what a model has to beat.
                "mean_deviation": _mean_deviation(test["truth"][~clicked, t]),
                "standard_deviation": float(test["truth"][~clicked, t].std(dtype=np.float64)),
            }
            for t, task in enumerate(recipe.schema.tasks)
        },
    }
