"""From raw columns to ids, standardised numbers and splits; what must be learned is learned from `train`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtl.tasks import Task

PENDING_VALUES = 1 << 20

SplitRows = dict[str, np.ndarray]
"""For `train`, `val` and `test` the positions of their rows."""


def vocabulary(train: np.ndarray, min_count: int = 1) -> np.ndarray:
    """Returns the distinct values of `train [N]` that occur `min_count` times or more, in rising order."""
    values, counts = np.unique(train, return_counts=True)
    return values[counts >= min_count]


class Counts:
    """How often each value of a column occurs; merged when as many are pending as are known."""

    def __init__(self, dtype: Any) -> None:
        """Starts with no value; `dtype` is that of the values, an integer type."""
        self._values = np.zeros(0, dtype)
        self._counts = np.zeros(0, np.int64)
        self._pending: list[tuple[np.ndarray, np.ndarray]] = []
        self._size = 0

    def add(self, values: np.ndarray) -> None:
        """Counts more values `[N]`."""
        distinct, counts = np.unique(values, return_counts=True)
        self._pending.append((distinct, counts))
        self._size += len(distinct)
        if self._size > max(PENDING_VALUES, len(self._values)):
            self._merge()

    def at_least(self, count: int) -> np.ndarray:
        """Returns the values that were seen `count` times or more, rising."""
        self._merge()
        return self._values[self._counts >= count]

    def _merge(self) -> None:
        values, counts = zip((self._values, self._counts), *self._pending, strict=True)
        self._values, place = np.unique(np.concatenate(values), return_inverse=True)
        weights = np.concatenate(counts).astype(np.float64)  # exact below 2⁵³ rows
        self._counts = np.bincount(place, weights, minlength=len(self._values)).astype(np.int64)
        self._pending, self._size = [], 0


def to_ids(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Numbers values by their place in a vocabulary.

    Args:
      values: `[N]`.
      known: `[V]` distinct values in rising order, as `vocabulary` returns them.

    Returns:
      Ids `[N]` int32 in 1 … V; 0 for a value that is not in the vocabulary.
    """
    if not len(known):
        return np.zeros(len(values), np.int32)
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[place] == values, place + 1, 0).astype(np.int32)


def standardised(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Returns `values [N]` less the mean of `values[train]` over its standard deviation, float32.

    Missing values (NaN) take no part and become 0, the mean; so does a constant column.
    """
    known = values[train].astype(np.float64)
    known = known[~np.isnan(known)]
    mean, deviation = (known.mean(), known.std()) if known.size else (0.0, 1.0)
    return np.nan_to_num((values - mean) / (deviation or 1.0)).astype(np.float32)


def bucket_edges(train: np.ndarray, num_buckets: int) -> np.ndarray:
    """Upper ends of all buckets but the last; bucket i holds edges[i - 1] < x <= edges[i].

    Quantiles of all rows would leave a column that is nearly always 0 with two or three buckets, and the
    others unread; so frequent values are set aside before the others are cut.

    Args:
      train: values `[N]` of the training rows.
      num_buckets: a value that more than 1 in num_buckets rows have gets a bucket of its own; the other rows
        are cut into num_buckets at their quantiles, of which equal ones are merged.

    Returns:
      Rising values of `train`, for `numpy.searchsorted` from the left.
    """
    distinct, counts = np.unique(train, return_counts=True)
    frequent = np.flatnonzero(counts > len(train) / num_buckets)
    others = train[~np.isin(train, distinct[frequent])]
    shares = np.arange(1, num_buckets) / num_buckets
    edges = [distinct[frequent], distinct[frequent[frequent > 0] - 1]]
    if others.size:
        edges.append(np.quantile(others, shares, method="inverted_cdf"))
    # Every edge is a value of `train`, so no bucket is empty but one beyond the maximum.
    return np.setdiff1d(np.concatenate(edges), distinct[-1:])


def last_events(
    users: np.ndarray, times: np.ndarray, items: np.ndarray, happened: np.ndarray, length: int
) -> np.ndarray:
    """Finds for every row the items of the user's latest events before it.

    Only events with an earlier time count: neither the row itself, nor what was shown together with it.

    Args:
      users: `[N]`.
      times: `[N]`.
      items: ids `[N]`, at least 1 where an event happened.
      happened: `[N]` bool, which rows are events.
      length: L.

    Returns:
      Ids `[N, L]` int32, the most recent event first; 0 where there are fewer.
    """
    order = np.lexsort((times, users))
    later = (np.diff(users[order]) != 0) | (np.diff(times[order]) != 0)
    moment = np.empty(len(order), np.int64)  # equal for rows of the same user and time, rising in both
    moment[order] = np.concatenate([[0], np.cumsum(later)]) if len(order) else 0
    events = order[happened[order]]
    end = np.searchsorted(moment[events], moment)
    start = np.searchsorted(users[events], users)
    history = np.zeros((len(users), length), np.int32)
    for back in range(length):
        at = end - 1 - back
        there = at >= start
        history[there, back] = items[events[at[there]]]
    return history


def split_at_random(rows: int, val_share: float, test_share: float, seed: int) -> SplitRows:
    """Divides rows at random; each split keeps their order."""
    shuffled = np.random.default_rng(seed).permutation(rows)
    num_val, num_test = round(val_share * rows), round(test_share * rows)
    return {
        "train": np.sort(shuffled[num_val + num_test :]),
        "val": np.sort(shuffled[:num_val]),
        "test": np.sort(shuffled[num_val : num_val + num_test]),
    }


def split_by_time(times: np.ndarray, val_share: float, test_share: float) -> SplitRows:
    """Divides rows by time, `train` before `val` before `test`; rows of the same time stay together.

    Args:
      times: `[N]`, N >= 1.
      val_share: share of rows in `val`.
      test_share: share of rows in `test`, the latest.

    Returns:
      Rows of each split in the order of time.
    """
    order = np.argsort(times, kind="stable")
    rising = times[order]
    first_val = rising[min(round((1 - val_share - test_share) * len(rising)), len(rising) - 1)]
    first_test = rising[min(round((1 - test_share) * len(rising)), len(rising) - 1)]
    cuts = np.searchsorted(rising, [first_val, first_test])
    return dict(zip(("train", "val", "test"), np.split(order, cuts), strict=True))


def label_rates(labels: np.ndarray, tasks: Sequence[Task]) -> dict[str, float]:
    """Returns the mean of each column of `labels [N, T]`, by task."""
    return {t.name: float(rate) for t, rate in zip(tasks, labels.mean(axis=0, dtype=np.float64))}


def rows_and_rates(labels: np.ndarray, split: SplitRows, tasks: Sequence[Task]) -> dict[str, Any]:
    """Counts rows and averages labels, for a data set's provenance.

    Args:
      labels: `[N, T]`.
      split: the rows of each split.
      tasks: T tasks.

    Returns:
      `{"rows": {split: count}, "label_rates": {"all" | split: {task: mean}}}`.
    """
    return {
        "rows": {name: len(rows) for name, rows in split.items()},
        "label_rates": {
            "all": label_rates(labels, tasks),
            **{name: label_rates(labels[rows], tasks) for name, rows in split.items() if len(rows)},
        },
    }


def mixed(numbers: np.ndarray) -> np.ndarray:
    """Scrambles integers `[N]` into uint64 whose remainders look random, by the finaliser of SplitMix64.

    Reference: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    """
    found = numbers.astype(np.uint64)
    found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return found ^ (found >> np.uint64(31))
