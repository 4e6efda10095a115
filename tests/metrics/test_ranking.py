"""Ranking within groups against brute force over all orders of ties, and scikit-learn."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from mtl import metrics
from mtl.errors import InputError

# Few distinct scores, so that ties are the rule; at most five rows a group, so that all orders can be tried.
GROUP = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=5)
ROWS = st.lists(GROUP, min_size=1, max_size=4)


def flat(parts):
    """Scores, labels and group ids, shuffled so that a group's rows are not neighbours."""
    rows = [(float(s), y, 10 - g) for g, part in enumerate(parts) for s, y in part]
    order = np.random.default_rng(len(rows)).permutation(len(rows))
    return tuple(np.array(column)[order] for column in zip(*rows))


def over_orders(part, value):
    """Mean of a function of labels in ranked order over all orders in which no score falls behind."""
    found = [
        value([y for _, y in order])
        for order in itertools.permutations(part)
        if all(a[0] >= b[0] for a, b in itertools.pairwise(order))
    ]
    return sum(found) / len(found)


def dcg(labels, k):
    return sum(y / math.log2(r + 2) for r, y in enumerate(labels[:k]))


def check(found, values):
    """`values` has None where a group is skipped."""
    kept = [v for v in values if v is not None]
    assert (found.groups, found.skipped) == (len(kept), len(values) - len(kept))
    if kept:
        assert found.value == pytest.approx(np.mean(kept), abs=1e-12)
    else:
        assert math.isnan(found.value)


@settings(max_examples=40)
@given(ROWS, st.integers(1, 4))
def test_ndcg_mrr_and_recall_are_means_over_the_orders_of_ties(parts, k):
    scores, labels, groups = flat(parts)
    relevant = [part if any(y for _, y in part) else None for part in parts]

    def each(value):
        return [None if part is None else over_orders(part, value) for part in relevant]

    best = {id(p): dcg(sorted((y for _, y in p), reverse=True), k) for p in relevant if p}
    gains = [None if p is None else over_orders(p, lambda y: dcg(y, k)) / best[id(p)] for p in relevant]
    check(metrics.ndcg(scores, labels, groups, k), gains)
    check(metrics.mrr(scores, labels, groups), each(lambda y: 1 / (y.index(1) + 1)))
    check(metrics.recall_at_k(scores, labels, groups, k), each(lambda y: sum(y[:k]) / sum(y)))


@settings(max_examples=40)
@given(ROWS)
def test_gauc_weighs_the_aucs_of_groups_by_their_rows(parts):
    scores, labels, groups = flat(parts)
    aucs = [metrics.auc(*zip(*part)) for part in parts]
    kept = [(a, len(p)) for a, p in zip(aucs, parts) if not math.isnan(a)]
    found = metrics.gauc(scores, labels, groups)
    assert (found.groups, found.skipped) == (len(kept), len(parts) - len(kept))
    if kept:
        expected = sum(a * n for a, n in kept) / sum(n for _, n in kept)
        assert found.value == pytest.approx(expected, abs=1e-12)


def test_ndcg_equals_scikit_learn_on_graded_labels_with_ties():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 4, (6, 9)), rng.integers(0, 4, (6, 9))
    groups = np.repeat(np.arange(6), 9)
    for k in (None, 1, 5):
        found = metrics.ndcg(scores.ravel(), labels.ravel(), groups, k)
        assert found.value == pytest.approx(sk.ndcg_score(labels, scores, k=k), abs=1e-12)
        steep = metrics.ndcg(scores.ravel(), labels.ravel(), groups, k, exponential=True)
        assert steep.value == pytest.approx(sk.ndcg_score(2.0**labels - 1, scores, k=k), abs=1e-12)


def test_gauc_by_hand_skips_and_counts_users_of_one_class():
    scores = [0.9, 0.2, 0.5, 0.5, 0.1, 0.7]
    labels = [1, 0, 1, 0, 0, 1]
    users = ["a", "a", "b", "b", "b", "c"]
    found = metrics.gauc(scores, labels, users)
    assert found == metrics.Grouped((2 * 1.0 + 3 * 0.75) / 5, 2, 1)


def test_rows_outside_the_mask_do_not_count():
    scores, labels, users = (
        np.array([3.0, 2.0, 1.0, math.nan]),
        np.array([0, 1, 0, 1]),
        np.array([1, 1, 1, 2]),
    )
    mask = np.array([False, True, True, False])
    assert metrics.gauc(scores, labels, users, mask) == metrics.Grouped(1.0, 1, 0)
    assert metrics.mrr(scores, labels, users, mask) == metrics.Grouped(1.0, 1, 0)


def test_one_group_is_the_plain_metric_and_none_is_nan():
    rng = np.random.default_rng(1)
    score, label = rng.normal(size=50).round(1), rng.integers(0, 2, 50)
    assert metrics.gauc(score, label, np.zeros(50)).value == pytest.approx(
        metrics.auc(score, label), abs=1e-12
    )
    assert metrics.concordance(score, label) == pytest.approx(metrics.auc(score, label), abs=1e-12)
    for metric in (metrics.gauc, metrics.ndcg, metrics.mrr):
        found = metric([], [], [])
        assert math.isnan(found.value)
        assert found[1:] == (0, 0)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=12))
def test_concordance_counts_pairs(rows):
    predictions, labels = (np.array(column, float) for column in zip(*rows))
    won = [
        0.5 + 0.5 * np.sign((predictions[i] - predictions[j]) * (labels[i] - labels[j]))
        for i, j in itertools.combinations(range(len(rows)), 2)
        if labels[i] != labels[j]
    ]
    found = metrics.concordance(predictions, labels)
    assert found == pytest.approx(np.mean(won), abs=1e-12) if won else math.isnan(found)


def test_normalised_entropy_by_hand():
    # Rate ½: entropy log 2; losses −log ¾ and −log ½.
    assert metrics.normalised_entropy([math.log(3), 0.0], [1, 0]) == pytest.approx(
        (math.log(4 / 3) + math.log(2)) / 2 / math.log(2), rel=1e-14
    )
    rate = math.log(0.25 / 0.75)
    assert metrics.normalised_entropy([rate] * 4, [1, 0, 0, 0]) == pytest.approx(1.0, rel=1e-14)
    assert math.isnan(metrics.normalised_entropy([0.3], [1]))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.gauc([1.0], [1], [1, 2]), r"groups have shape \(2,\), expected \(1,\)"),
        (lambda: metrics.gauc([math.nan], [1], [1]), "scores hold NaN"),
        (lambda: metrics.recall_at_k([1.0], [1], [1], 0), "k is 0, expected an integer >= 1"),
        (lambda: metrics.ndcg([1.0], [1], [1], k=2.5), "k is 2.5, expected an integer"),
        (lambda: metrics.ndcg([1.0], [-1], [1]), "labels hold -1, expected relevances >= 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
