"""The keyed permutation: a bijection for every size, and statistically like a random permutation."""

import functools
import math
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from mtl.train.order import rows_of_updates, shuffled


@functools.cache
def permutations(size, count):
    """`count` permutations of `size` rows, `[count, size]`."""
    keys = jax.random.bits(jax.random.key(size), (count, 8))
    positions = jnp.broadcast_to(jnp.arange(size), (count, size))
    return np.asarray(jax.jit(functools.partial(shuffled, num_rows=size))(keys, positions))


@pytest.mark.parametrize("size", [1, 2, 3, 31, 32, 33, 1000, 1023, 1024, 1025, 5000, 131_073])
def test_every_row_once(size):
    for rows in permutations(size, 3):
        np.testing.assert_array_equal(np.sort(rows), np.arange(size))


@pytest.mark.parametrize("size", [3, 4, 5])
def test_all_permutations_are_equally_likely(size):
    count = 20_000
    seen = Counter(map(tuple, permutations(size, count).tolist()))
    expected = count / math.factorial(size)
    assert len(seen) == math.factorial(size)
    statistic = sum((n - expected) ** 2 / expected for n in seen.values())
    assert chi2.sf(statistic, len(seen) - 1) > 1e-3


@pytest.mark.parametrize(("size", "count"), [(24, 10_000), (100, 10_000), (1000, 2_000)])
def test_positions_neighbours_and_sets_are_those_of_random_permutations(size, count):
    found = permutations(size, count)
    seen = np.stack([np.bincount(found[:, i], minlength=size) for i in range(size)])
    expected = count / size
    assert chi2.sf(((seen - expected) ** 2 / expected).sum(), (size - 1) ** 2) > 1e-3
    steps = np.bincount(((found[:, 1:] - found[:, :-1]) % size).ravel(), minlength=size)[1:]
    expected = steps.sum() / (size - 1)
    assert chi2.sf(((steps - expected) ** 2 / expected).sum(), size - 2) > 1e-3
    # How many of the first rows stand among the first positions: hypergeometric.
    first = size // 4
    overlap = (found[:, :first] < first).sum(axis=1)
    variance = first * (first / size) * (1 - first / size) * (size - first) / (size - 1)
    assert abs(overlap.mean() - first**2 / size) < 4 * math.sqrt(variance / count)
    assert abs(overlap.var() / variance - 1) < 4 * math.sqrt(2 / count)


def test_updates_of_an_epoch_are_slices_of_one_permutation():
    def rows(updates):
        return np.asarray(
            rows_of_updates(jnp.uint32(3), jnp.array(updates), per_epoch=4, size=5, num_rows=23)
        )

    first, second = rows([0, 1, 2, 3]), rows([4, 5, 6, 7])
    for epoch in (first, second):
        assert len(set(epoch.ravel().tolist())) == 20  # three rows are left over
        assert epoch.max() < 23
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(rows([6, 1]), [second[2], first[1]])
