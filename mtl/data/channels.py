"""Recall channels: vectors of users and items that were trained before, as columns of a data set."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy

from mtl.columns import behaviours, role_columns
from mtl.data import arguments
from mtl.data.dataset import Columns, Dataset, train_in_memory
from mtl.errors import InputError


class Channel(NamedTuple):
    """Vectors of one recall channel, whose dot products say how well an item suits a user.

    Attributes:
      name: the channel's name, without a colon.
      users: by user id `[U, d]`.
      items: by item id `[V, d]`.
    """

    name: str
    users: np.ndarray
    items: np.ndarray


def pretrain_channels(dataset: Dataset, dim: int = 8, seed: int = 0) -> tuple[Channel, Channel]:
    """Trains the recall channels behaviour (U2A) and co-occurrence (U2A2A) from the histories of `train`.

        U2A:    log(1 + n(user, item)) ≈ users itemsᵀ
        U2A2A:  log(1 + n(item, item)) ≈ sources itemsᵀ,   users = mean of the sources in the user's histories

    by truncated singular value decompositions; n(user, item) counts rows in whose history the item is,
    n(item, item) those in which both are. Labels are not read, so that a channel cannot tell a row its own
    label. Users without history in `train` have the vector 0.

    Args:
      dataset: a data set with a user column, an item column and a sequence that reads its table.
      dim: d ≥ 1, length of the vectors; it has to be less than the number of items and of users.
      seed: seed of the decompositions.

    Returns:
      The channels `u2a` and `u2a2a`.

    Raises:
      InputError: a column is missing, or `dim` is out of range.
    """
    schema = dataset.schema
    dim = arguments.integer("dim", dim, 1)
    user, item = _user_and_item(dataset)
    found = behaviours(schema, "pretrain_channels", "name another data set")
    if item not in found.targets:
        raise InputError(
            f"pretrain_channels reads a sequence with the table of {schema.id_columns[item].name!r}, but the "
            "data set has none; name another data set"
        )
    history = found.items[found.targets.index(item)]
    num_users, num_items = (schema.id_columns[i].vocab_size for i in (user, item))
    if dim >= min(num_users, num_items):
        raise InputError(f"dim is {dim}, expected less than {min(num_users, num_items)} users or items")
    ids = train_in_memory(dataset, "pretrain_channels")["ids"]
    past = ids[:, list(history)]
    rows, places = np.nonzero(past)
    inside = _counts(rows, past[rows, places], (len(past), num_items)).minimum(1)
    owner = _counts(ids[:, user], np.arange(len(ids)), (num_users, len(ids)))
    per_user = owner @ inside
    users, items = _decomposed(per_user, dim, seed)
    sources, reached = _decomposed(inside.T @ inside, dim, seed)
    total = np.asarray(per_user.sum(axis=1))
    mean = (per_user @ sources) / np.maximum(total, 1).reshape(-1, 1)
    return Channel("u2a", users, items), Channel("u2a2a", mean, reached)


def with_channels(dataset: Dataset, channels: Sequence[Channel]) -> Dataset:
    """Joins the vectors of recall channels to a data set, by the ids of user and item.

    Each vector becomes numeric columns `channel:NAME:user:0` …, `channel:NAME:item:0` …, which the side tower
    `channels` with `stage='two_stage'` reads. In every channel users' and items' vectors are each divided by
    one number, such that their mean squared length over `train` is 1.

    Args:
      dataset: a data set with a user and an item column (the first of each role).
      channels: vectors by id, such as those of `pretrain_channels`, or of what items show or say.

    Returns:
      The data set with more numeric columns.

    Raises:
      InputError: a column is missing, or the arrays of a channel do not fit the ids.
    """
    user, item = _user_and_item(dataset)
    names: list[str] = []
    train = train_in_memory(dataset, "with_channels")
    added: dict[str, list[np.ndarray]] = {split: [] for split in dataset.splits}
    for channel in channels:
        _check(dataset, channel, (user, item))
        for side, column, table in (("user", user, channel.users), ("item", item, channel.items)):
            of_train = table[train["ids"][:, column]]
            scale = np.sqrt(np.mean(np.sum(np.square(of_train), axis=1)))
            for split, columns in dataset.splits.items():
                added[split].append(table[columns["ids"][:, column]] / (scale or 1.0))
            names += [f"channel:{channel.name}:{side}:{k}" for k in range(table.shape[1])]
    schema = dataset.schema._replace(numeric_columns=(*dataset.schema.numeric_columns, *names))
    splits: dict[str, Columns] = {
        split: {
            **columns,
            "numeric": np.concatenate([columns["numeric"], *added[split]], 1, dtype=np.float32),
        }
        for split, columns in dataset.splits.items()
    }
    provenance = {**dataset.provenance, "channels": [channel.name for channel in channels]}
    return dataset._replace(schema=schema, splits=splits, provenance=provenance)


def _user_and_item(dataset: Dataset) -> tuple[int, int]:
    users, items = (role_columns(dataset.schema, role) for role in ("user", "item"))
    if not users or not items:
        raise InputError(
            f"data set {dataset.name!r} has {len(users)} id columns of role 'user' and {len(items)} of role "
            "'item'; recall channels need one of each"
        )
    return users[0], items[0]


def _check(dataset: Dataset, channel: Channel, columns: tuple[int, int]) -> None:
    if ":" in channel.name or f"channel:{channel.name}:user:0" in dataset.schema.numeric_columns:
        raise InputError(f"channel {channel.name!r}: expected a name without ':' that is not yet in use")
    tables = {"users": channel.users, "items": channel.items}
    for (side, table), column in zip(tables.items(), columns, strict=True):
        rows = dataset.schema.id_columns[column].vocab_size
        if table.ndim != 2 or len(table) != rows or table.shape[1] != channel.items.shape[-1]:
            raise InputError(
                f"channel {channel.name!r}: {side} has shape {table.shape}, expected ({rows}, d) with one d "
                "for users and items"
            )
        if not np.isfinite(table).all():
            raise InputError(f"channel {channel.name!r}: {side} has a number that is not finite")


def _counts(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> "scipy.sparse.csr_matrix":
    """How often each pair occurs."""
    return scipy.sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)


def _decomposed(counts: "scipy.sparse.csr_matrix", dim: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of rows and columns whose dot products are near log(1 + counts)."""
    from sklearn.decomposition import TruncatedSVD

    svd = TruncatedSVD(dim, random_state=seed)
    rows = svd.fit_transform(counts.log1p())
    root = np.sqrt(np.maximum(svd.singular_values_, np.finfo(float).tiny))
    return rows / root, svd.components_.T * root
