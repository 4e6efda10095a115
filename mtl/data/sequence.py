"""Users with planted interests: what they do depends on how much of their history is like the candidate."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mtl.data import arguments
from mtl.data.channels import pretrain_channels, with_channels
from mtl.data.dataset import Columns, Dataset, IdColumn, Schema
from mtl.errors import InputError
from mtl.tasks import Task

NUM_PRICES = 7
"""Price levels, those of items and those that users prefer."""

STRENGTHS = (1, 2)
"""How much a behaviour counts as evidence of an interest: a view, a purchase."""


class _World(NamedTuple):
    """The catalogue and the users; index 0 of every array is not used.

    Attributes:
      categories: each item's category `[V + 1]`, in 1 … G.
      prices: each item's price level `[V + 1]`, in 1 … 7.
      interests: categories that each user likes `[U + 1, m]`, all different.
      preferred: price level that each user prefers `[U + 1]`.
      order: the items, category by category `[V]`.
      shelves: `[7 · V]`, rising: for preferred level p and category g (from 0) the part p · G + g … p · G + g
        + 1 is divided among the items of g, in their `order`, in proportion to their probabilities.
    """

    categories: np.ndarray
    prices: np.ndarray
    interests: np.ndarray
    preferred: np.ndarray
    order: np.ndarray
    shelves: np.ndarray


def sequence_synthetic(
    num_users: int = 2_000,
    num_items: int = 400,
    num_categories: int = 40,
    num_interests: int = 4,
    length: int = 12,
    num_train: int = 20_000,
    num_val: int = 4_000,
    num_test: int = 4_000,
    bias: float = -2.0,
    interest: float = 3.0,
    saturation: int = 3,
    refer: float = 1.0,
    empty: float = 0.1,
    price_task: bool = False,
    channel_dim: int = 0,
    seed: int = 0,
) -> Dataset:
    """Draws impressions of users whose clicks depend on the part of their history that is like the candidate.

        s(g) = Σ_l [category of behaviour l = g] · strength_l,   h(g) = min(s(g), k) / k
        P(click) = σ(bias + interest · h(g_item) + refer · [g_refer = g_item] · h(g_refer))
        P(buy | click) = σ(1 − |price of the item − price that the user prefers|)

    Every user has `num_interests` categories and a price level that she prefers. A behaviour is a view
    (strength 1, 70 %) or a purchase (strength 2) of an item: from one of her interests, or with 20 % from any
    category; among the items of the category near prices are likelier, ∝ exp(−|difference|). The number of
    behaviours is uniform in 1 … `length`, or 0 for a share `empty` of the impressions. The candidate is from
    one of the interests or, as likely, from any category; the item that she comes from is of the candidate's
    category or, as likely, of any. A click thus depends on *how many* behaviours are like the candidate, up
    to k: several interests and a mean of the history blur it, attention to what is like the candidate does
    not.

    Catalogue, users, rows and labels come from separate streams: what only moves probabilities (`bias`,
    `interest`, `saturation`, `refer`) leaves all columns as they are.

    Args:
      num_users: U, ids 1 … U; id 0 is a user that is not known.
      num_items: V ≥ G, ids 1 … V; id 0 is padding.
      num_categories: G, at least `num_interests`.
      num_interests: categories that a user likes.
      length: L ≥ 2, the positions of a history.
      num_train: rows of `train`, at least 2.
      num_val: rows of `val`, at least 2.
      num_test: rows of `test`, at least 2.
      bias: logit of a click without any interest.
      interest: how much a history full of the candidate's category adds.
      saturation: k ≥ 1, the strength beyond which more of the same adds nothing.
      refer: how much the item that the user comes from adds, if it is like both candidate and history.
      empty: share of impressions without history, in [0, 1).
      price_task: whether to add the task `price`, which of 7 levels the user prefers.
      channel_dim: length of the vectors of pre-trained recall channels (`pretrain_channels`) that are added
        as numeric columns; 0 for none.
      seed: seed of everything random.

    Returns:
      A data set with the tasks `click` and `buy`, which requires a click. `truth` of `val` and `test` has
      P(click) and P(buy | click). Columns: user; item, its category and its price; refer and its category;
      and three sequences of L, the items of the history, their categories and the kinds of behaviour.

    Raises:
      InputError: an argument is out of range.
    """
    counts = {
        "num_users": arguments.integer("num_users", num_users, 1),
        "num_items": arguments.integer("num_items", num_items, 1),
        "num_categories": arguments.integer("num_categories", num_categories, 1),
        "num_interests": arguments.integer("num_interests", num_interests, 1),
        "length": arguments.integer("length", length, 2),
        "saturation": arguments.integer("saturation", saturation, 1),
    }
    for more, fewer in (("num_items", "num_categories"), ("num_categories", "num_interests")):
        if counts[more] < counts[fewer]:
            raise InputError(f"{more} is {counts[more]}, expected at least {fewer} = {counts[fewer]}")
    sizes = {
        split: arguments.integer(f"num_{split}", rows, 2)
        for split, rows in (("train", num_train), ("val", num_val), ("test", num_test))
    }
    logits = {
        "bias": arguments.real("bias", bias, -30.0, 30.0),
        "interest": arguments.real("interest", interest, -30.0, 30.0),
        "refer": arguments.real("refer", refer, -30.0, 30.0),
    }
    empty = arguments.real("empty", empty, 0.0)
    if empty >= 1:
        raise InputError(f"empty is {empty:g}, expected a number in [0, 1)")
    if not isinstance(price_task, bool):
        raise InputError(f"price_task is {price_task!r}, expected true or false")
    channel_dim = arguments.integer("channel_dim", channel_dim, 0)
    seed = arguments.integer("seed", seed, 0)

    world_seed, *split_seeds = np.random.SeedSequence(seed).spawn(1 + len(sizes))
    world = _world(world_seed, counts)
    splits = {
        split: _draw(child, rows, world, counts, logits, empty, price_task)
        for child, (split, rows) in zip(split_seeds, sizes.items(), strict=True)
    }
    tasks: tuple[Task, ...] = (Task("click"), Task("buy", parents=("click",), requires=("click",)))
    if price_task:
        tasks += (Task("price", "multiclass", NUM_PRICES),)
    given = {**counts, **{f"num_{split}": rows for split, rows in sizes.items()}, **logits}
    given |= {"empty": empty, "price_task": price_task, "channel_dim": channel_dim, "seed": seed}
    probability = {split: float(columns["truth"][:, 0].mean()) for split, columns in splits.items()}
    del splits["train"]["truth"]
    dataset = Dataset(
        name="sequence_synthetic",
        schema=Schema(_columns(counts), (), tasks),
        splits=splits,
        provenance={
            "source": "generated: users with planted interests",
            "arguments": given,
            "label_rates": {
                split: {
                    "click": float(columns["labels"][:, 0].mean()),
                    "buy": float(columns["labels"][:, 1].mean()),
                }
                for split, columns in splits.items()
            },
            "mean_click_probability": probability,
        },
    )
    return with_channels(dataset, pretrain_channels(dataset, channel_dim)) if channel_dim else dataset


def _columns(counts: Mapping[str, int]) -> tuple[IdColumn, ...]:
    items, categories = counts["num_items"] + 1, counts["num_categories"] + 1
    columns = [
        IdColumn("user", counts["num_users"] + 1, "user"),
        IdColumn("item", items, "item"),
        IdColumn("category", categories, "item"),
        IdColumn("price", NUM_PRICES + 1, "item"),
        IdColumn("refer", items, "refer", table="item"),
        IdColumn("refer_category", categories, "refer", table="category"),
    ]
    sequences = (
        ("past_item", items, "item"),
        ("past_category", categories, "category"),
        ("past_kind", len(STRENGTHS) + 1, ""),
    )
    for name, size, table in sequences:
        names = [f"{name}_{place + 1}" for place in range(counts["length"])]
        for each in names:
            owner = table or ("" if each == names[0] else names[0])
            columns.append(IdColumn(each, size, "user", name, owner))
    return tuple(columns)


def _world(seed: np.random.SeedSequence, counts: Mapping[str, int]) -> _World:
    item_rng, user_rng = map(np.random.default_rng, seed.spawn(2))
    num_items, num_categories = counts["num_items"], counts["num_categories"]
    # Every category has items: the first G items fill them in turn.
    categories = np.arange(num_items) % num_categories + 1
    prices = item_rng.integers(1, NUM_PRICES + 1, num_items)
    liked = user_rng.random((counts["num_users"], num_categories)).argsort(axis=1) + 1
    liked = np.concatenate([np.zeros_like(liked[:1]), liked])[:, : counts["num_interests"]]
    order = categories.argsort(kind="stable")
    near = np.exp(-np.abs(prices[order] - np.arange(1, NUM_PRICES + 1)[:, None]))
    shelves = np.empty_like(near)
    for g in range(num_categories):
        own = slice(*np.searchsorted(categories[order], [g + 1, g + 2]))
        shares = near[:, own].cumsum(axis=1)
        shelves[:, own] = np.arange(NUM_PRICES)[:, None] * num_categories + g + shares / shares[:, -1:]
    return _World(
        categories=np.append(0, categories),
        prices=np.append(0, prices),
        interests=liked,
        preferred=np.append(0, user_rng.integers(1, NUM_PRICES + 1, counts["num_users"])),
        order=order + 1,
        shelves=shelves.ravel(),
    )


def _draw(
    seed: np.random.SeedSequence,
    rows: int,
    world: _World,
    counts: Mapping[str, int],
    logits: Mapping[str, float],
    empty: float,
    price_task: bool,
) -> Columns:
    rng, label_rng = map(np.random.default_rng, seed.spawn(2))
    length, num_categories = counts["length"], counts["num_categories"]
    users = rng.integers(1, counts["num_users"] + 1, rows)
    liked, level = world.interests[users], world.preferred[users]

    def categories(like, shape):
        """From the user's interests with probability `like`, else from all."""
        picked = liked[np.arange(rows)[:, None], rng.integers(0, liked.shape[1], shape)]
        return np.where(rng.random(shape) < like, picked, rng.integers(1, num_categories + 1, shape))

    def items(categories):
        """Items of given categories, near the preferred price."""
        part = (level[:, None] - 1) * num_categories + categories - 1
        place = np.searchsorted(world.shelves, part + rng.random(categories.shape), side="right")
        return world.order[place % len(world.order)]

    past = items(categories(0.8, (rows, length)))
    kinds = rng.choice([1, 2], p=[0.7, 0.3], size=(rows, length))
    lengths = np.where(rng.random(rows) < empty, 0, rng.integers(1, length + 1, rows))
    live = np.arange(length) < lengths[:, None]
    past, kinds = past * live, kinds * live
    item = items(categories(0.5, (rows, 1)))
    other = rng.integers(1, num_categories + 1, (rows, 1))
    refer = items(np.where(rng.random((rows, 1)) < 0.5, world.categories[item], other))

    strength = np.append(0, STRENGTHS)[kinds]
    same = world.categories[past] == world.categories[item]
    evidence = np.minimum((same * strength).sum(axis=1), counts["saturation"]) / counts["saturation"]
    referred = (world.categories[refer] == world.categories[item])[:, 0]
    # Where the item that the user comes from is like the candidate, so is its evidence.
    click = logits["bias"] + evidence * (logits["interest"] + logits["refer"] * referred)
    truth = 1 / (1 + np.exp(-np.stack([click, 1.0 - np.abs(world.prices[item[:, 0]] - level)], axis=1)))
    events = label_rng.random((rows, 2)) < truth
    labels = np.stack([events[:, 0], events.all(axis=1)], axis=1).astype(np.float32)
    if price_task:
        labels = np.concatenate([labels, level[:, None] - 1], axis=1)
        truth = np.concatenate([truth, np.full((rows, 1), np.nan)], axis=1)
    single = np.concatenate(
        [users[:, None], item, world.categories[item], world.prices[item], refer, world.categories[refer]],
        axis=1,
    )
    return {
        "ids": np.concatenate([single, past, world.categories[past], kinds], axis=1).astype(np.int32),
        "numeric": np.zeros((rows, 0), np.float32),
        "labels": labels.astype(np.float32),
        "truth": truth.astype(np.float32),
    }
