"""The order in which a run reads its rows: a keyed permutation, evaluated only where it is read.

A Feistel network permutes the numbers below 2^b; those at or above N are permuted again until they fall below
it, which leaves a permutation of N rows (cycle walking). A position costs the same whatever N is: for 128 of
10,000 rows a hundredth of the sort behind `jax.random.permutation`.

Reference:
  J. Black and P. Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002, Sections 4 and 5.
"""

import jax
import jax.numpy as jnp

from mtl.train.random import stream_key
from mtl.types import Array

ROUNDS = 8

LEAST_BITS = 10
"""Networks of fewer bits do not reach all permutations of a handful of rows equally often."""


def shuffled(keys: Array, positions: Array, num_rows: int) -> Array:
    """Applies a random permutation of 0 … N−1 to some positions.

    Args:
      keys: random numbers `[*K, 8]` uint32, which choose the permutation.
      positions: `[*K, P]`, each below N.
      num_rows: N ≥ 1.

    Returns:
      The rows at these positions `[*K, P]` int32.
    """
    bits = max(LEAST_BITS, (num_rows - 1).bit_length())
    low_bits = bits // 2
    low_mask, high_mask = jnp.uint32(2**low_bits - 1), jnp.uint32(2 ** (bits - low_bits) - 1)

    def once(x: Array) -> Array:
        high, low = x >> low_bits, x & low_mask
        for i in range(0, ROUNDS, 2):
            high = (high ^ _mix(low ^ keys[..., i, None])) & high_mask
            low = (low ^ _mix(high ^ keys[..., i + 1, None])) & low_mask
        return (high << low_bits) | low

    def outside(x: Array) -> Array:
        return x >= num_rows

    first = once(positions.astype(jnp.uint32))
    rows = jax.lax.while_loop(
        lambda x: jnp.any(outside(x)), lambda x: jnp.where(outside(x), once(x), x), first
    )
    return rows.astype(jnp.int32)


def rows_of_updates(seed: Array, updates: Array, per_epoch: int, size: int, num_rows: int) -> Array:
    """The rows that a run reads in some updates, each row at most once in an epoch.

    Args:
      seed: root seed of the run `[]`.
      updates: numbers of the updates `[K]`; update k belongs to epoch k // per_epoch.
      per_epoch: updates in an epoch; those rows of a permutation that are left over are not read.
      size: rows per update.
      num_rows: N.

    Returns:
      `[K, size]` int32, a pure function of seed and update.
    """
    epochs = updates // per_epoch
    keys = jax.vmap(lambda epoch: jax.random.bits(stream_key(seed, "order", epoch), (ROUNDS,)))(epochs)
    positions = (updates % per_epoch * size)[:, None] + jnp.arange(size)
    return shuffled(keys, positions, num_rows)


def _mix(x: Array) -> Array:
    """A hash of 32 bits in which every bit of x moves every bit of the result."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
