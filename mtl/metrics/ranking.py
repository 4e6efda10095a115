"""Ranking within groups of rows, such as the impressions of a user: GAUC, NDCG, MRR, recall.

Ties are exact: a value is the mean over all orders of rows with equal scores. Groups for which a metric has
no meaning are left out and counted.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mtl.errors import InputError
from mtl.metrics.rows import select_rows


class Grouped(NamedTuple):
    """A mean over groups.

    Attributes:
      value: the mean; NaN without a group that counts.
      groups: number of groups that count.
      skipped: number of groups that do not, such as users with one class only.
    """

    value: float
    groups: int
    skipped: int


def gauc(scores: ArrayLike, labels: ArrayLike, groups: ArrayLike, mask: ArrayLike | None = None) -> Grouped:
    """Mean AUC of the groups, weighted by their rows, Σ_u n_u AUC_u / Σ_u n_u.

    Args:
      scores: `[N]` any increasing scores.
      labels: `[N]`, 0 or 1.
      groups: `[N]` id of the user or request of every row.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      The mean, in [0, 1]; groups of one class are skipped.

    Raises:
      InputError: the shapes do not fit one another, or a score is NaN.

    Reference:
      Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018.
    """
    ranked = _rank(scores, labels, groups, mask)
    positive = (ranked.label == 1).astype(np.float64)
    p, n = ranked.sum(positive), ranked.sum(1.0 - positive)
    # Rank from below, ties in the middle: the sum over positives counts the pairs that they win.
    from_below = ranked.size - (ranked.first + ranked.last) / 2
    won = ranked.sum(positive * from_below) - p * (p + 1) / 2
    counts = (p > 0) & (n > 0)
    return _mean(won / np.where(counts, p * n, 1.0), counts, weights=p + n)


def ndcg(
    scores: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    k: int | None = None,
    mask: ArrayLike | None = None,
    *,
    exponential: bool = False,
) -> Grouped:
    """Normalised discounted cumulative gain at k, averaged over groups.

        DCG@k = Σ_{r=1..k} gain_r / log₂(r + 1),   NDCG@k = DCG@k / DCG@k of the best order

    Args:
      scores: `[N]`.
      labels: `[N]` relevances ≥ 0.
      groups: `[N]` id of the user or request of every row.
      k: ranks that count, at least 1; None for all.
      mask: `[N]` bool, the rows that count; None for all.
      exponential: gains 2^y − 1 in the place of y, which is the same for labels of 0 and 1.

    Returns:
      The mean, in [0, 1]; groups without a relevant row are skipped.

    Raises:
      InputError: the shapes do not fit one another, a score is NaN, a label is negative, or k is below 1.

    Reference:
      Järvelin and Kekäläinen, "Cumulated Gain-based Evaluation of IR Techniques", TOIS 20 (2002); ties as in
      McSherry and Najork, "Computing Information Retrieval Performance Measures Efficiently in the Presence
      of Tied Scores", ECIR 2008.
    """
    best = _discounted(_rank(labels, labels, groups, mask), k, exponential)
    found = _discounted(_rank(scores, labels, groups, mask), k, exponential)
    counts = best > 0
    return _mean(found / np.where(counts, best, 1.0), counts)


def recall_at_k(
    scores: ArrayLike, labels: ArrayLike, groups: ArrayLike, k: int, mask: ArrayLike | None = None
) -> Grouped:
    """Share of a group's positive rows that are among its first k, averaged over groups.

    Args:
      scores: `[N]`.
      labels: `[N]`, 0 or 1.
      groups: `[N]` id of the user or request of every row.
      k: ranks that count, at least 1.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      The mean, in [0, 1]; groups without a positive row are skipped.

    Raises:
      InputError: the shapes do not fit one another, a score is NaN, or k is below 1.
    """
    ranked = _rank(scores, labels, groups, mask)
    positive = ranked.label == 1
    tied = ranked.last - ranked.first + 1
    among = np.clip((_ranks(k) - ranked.first + 1) / tied, 0.0, 1.0)
    positives = ranked.sum(positive.astype(np.float64))
    found = ranked.sum(positive * among)
    return _mean(found / np.maximum(positives, 1.0), positives > 0)


def mrr(scores: ArrayLike, labels: ArrayLike, groups: ArrayLike, mask: ArrayLike | None = None) -> Grouped:
    """Mean reciprocal rank: 1 over the rank of a group's first positive row, averaged over groups.

    Args:
      scores: `[N]`.
      labels: `[N]`, 0 or 1.
      groups: `[N]` id of the user or request of every row.
      mask: `[N]` bool, the rows that count; None for all.

    Returns:
      The mean, in [0, 1]; groups without a positive row are skipped.

    Raises:
      InputError: the shapes do not fit one another, or a score is NaN.
    """
    ranked = _rank(scores, labels, groups, mask)
    value, counts = np.zeros(ranked.groups), np.zeros(ranked.groups, bool)
    hits = np.flatnonzero(ranked.label == 1)
    group, at = np.unique(ranked.group[hits], return_index=True)
    for g, row in zip(group, hits[at]):
        first, last = int(ranked.first[row]), int(ranked.last[row])
        start = row - int(ranked.place[row] - first)  # of the rows with this score
        positives = int(np.sum(ranked.label[start : start + last - first + 1] == 1))
        value[g], counts[g] = _reciprocal(first, last - first + 1, positives), True
    return _mean(value, counts)


class _Ranked(NamedTuple):
    """Rows sorted by group and falling score.

    Attributes:
      label: labels.
      group: 0, 1, … per row.
      place: rank within the group, from 1, in this order.
      first: smallest rank of the rows with the same score.
      last: the largest one.
      size: rows of the group, plus 1.
      groups: number of groups.
    """

    label: np.ndarray
    group: np.ndarray
    place: np.ndarray
    first: np.ndarray
    last: np.ndarray
    size: np.ndarray
    groups: int

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sums values of rows over each group."""
        return np.bincount(self.group, weights=values, minlength=self.groups)


def _rank(scores: ArrayLike, labels: ArrayLike, groups: ArrayLike, mask: ArrayLike | None) -> _Ranked:
    ids = np.asarray(groups)
    score, label = select_rows(scores, labels, mask)
    if ids.shape != np.shape(labels):
        raise InputError(f"groups have shape {ids.shape}, expected {np.shape(labels)}: one id per row")
    if np.isnan(score).any():
        raise InputError("scores hold NaN, which has no rank; drop these rows by mask")
    if mask is not None:
        ids = ids[np.asarray(mask, bool)]
    group = np.unique(ids, return_inverse=True)[1]
    order = np.lexsort((-score, group))
    score, label, group = score[order], label[order], group[order]
    rows = np.arange(score.size)
    sizes = np.bincount(group)
    begins = np.cumsum(sizes) - sizes
    place = rows - begins[group] + 1
    fresh = np.ones(score.size, bool)
    fresh[1:] = (group[1:] != group[:-1]) | (score[1:] != score[:-1])
    block = np.cumsum(fresh) - 1
    starts = np.flatnonzero(fresh)
    ends = np.append(starts[1:], score.size) - 1
    first, last = (place[edge][block] if score.size else place for edge in (starts, ends))
    return _Ranked(label, group, place, first, last, sizes[group] + 1, sizes.size)


def _discounted(ranked: _Ranked, k: int | None, exponential: bool) -> np.ndarray:
    """DCG@k of every group; rows of equal score share the discounts of their ranks."""
    if (ranked.label < 0).any():
        raise InputError(f"labels hold {ranked.label.min():g}, expected relevances >= 0")
    limit = ranked.size.max(initial=1) if k is None else _ranks(k)
    discount = np.where(ranked.place <= limit, 1 / np.log2(ranked.place + 1.0), 0.0)
    block = np.cumsum(ranked.place == ranked.first) - 1
    mean = np.bincount(block, weights=discount) / np.bincount(block) if block.size else discount
    gain = np.exp2(ranked.label) - 1 if exponential else ranked.label
    return ranked.sum(gain * mean[block])


def _reciprocal(first: int, rows: int, positives: int) -> float:
    """E[1 / rank] of the first of some positive rows in random order among others, from rank `first` on."""
    value, none_before = 0.0, 1.0
    for j in range(rows - positives + 1):
        hit = positives / (rows - j)
        value += none_before * hit / (first + j)
        none_before *= 1 - hit
    return value


def _ranks(k: int) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"k is {k!r}, expected an integer >= 1")
    return int(k)


def _mean(values: np.ndarray, counts: np.ndarray, weights: np.ndarray | None = None) -> Grouped:
    number = int(counts.sum())
    if not number:
        return Grouped(float("nan"), 0, len(counts))
    share = np.ones(number) if weights is None else weights[counts]
    return Grouped(float(values[counts] @ share / share.sum()), number, len(counts) - number)
