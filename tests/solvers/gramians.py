"""Random Gramians on which every solver is tested and timed."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

FULL_RANK, LOW_RANK, ILL_CONDITIONED, UNEVEN, OPPOSED = KINDS = range(5)
"""Gaussian rows – of low rank – of condition number to 1e8 – of scales 1e±4 – two of them opposed."""


def random_gramians(num: int, size: int, seed: int, kinds: tuple[int, ...] = tuple(KINDS)) -> np.ndarray:
    """Gramians of the given kinds in turn, each at a common scale of its gradients between 1e-12 and 1e12."""
    rng = np.random.default_rng([seed, size])
    out = np.empty((num, size, size))
    for i in range(num):
        kind = kinds[i % len(kinds)]
        if kind == FULL_RANK:
            jac = rng.normal(size=(size, 2 * size))
        elif kind == LOW_RANK:
            jac = rng.normal(size=(size, rng.integers(1, 2 * size)))
        elif kind == ILL_CONDITIONED:
            left, _ = np.linalg.qr(rng.normal(size=(size, size)))
            right, _ = np.linalg.qr(rng.normal(size=(size, size)))
            jac = left * np.sqrt(np.geomspace(1, 10 ** -rng.uniform(0, 8), size)) @ right
        elif kind == UNEVEN:
            jac = rng.normal(size=(size, size)) * 10 ** rng.uniform(-4, 4, size=(size, 1))
        else:
            jac = rng.normal(size=(size, size))
            jac[rng.integers(1, size)] = -jac[0] * rng.uniform(0.5, 2)
        jac *= 10 ** rng.uniform(-12, 12)
        out[i] = jac @ jac.T
    return out


SIZES = ((2, 250), (3, 200), (4, 150), (6, 150), (8, 100), (16, 100), (32, 50), (64, 25))
"""Numbers of tasks, and how many Gramians of each: a thousand and a few in all."""

BLOCK = 25


def in_blocks(solve: Callable) -> Callable:
    """Calls `solve` on 25 rows of its arrays at a time: so one program serves any number of rows.

    Args:
      solve: a compiled function of arrays `[25, …]` and of numbers, which are handed on.
    """

    def call(grams: np.ndarray, *others: Any) -> Any:
        num = len(grams)
        rows = np.minimum(np.arange(-(-num // BLOCK) * BLOCK), num - 1).reshape(-1, BLOCK)
        arguments = (np.asarray(grams), *others)
        parts = [solve(*(x[i] if isinstance(x, np.ndarray) else x for x in arguments)) for i in rows]
        return jax.tree.map(lambda *x: np.concatenate(x)[:num], *parts)

    return call
