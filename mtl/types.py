"""Shared type aliases and shape letters.

Shape letters used in every docstring:

    B  rows of a batch            T  tasks             E  experts
    D  input features             H  hidden units      K  outputs of a task (1, or classes)
    N  rows of a split            C  id columns        F  numeric columns
    V  rows of the embedding table                     S  runs stacked in one program
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
PyTree = Any
Batch = Mapping[str, Array]
"""One batch: `ids [B,C] int32`, `numeric [B,F] float32`, `labels [B,T] float32` and, where some
task does not cover every row, `mask [B,T] bool` (its sample space), and where rows count differently
`weights [B,T] float32`. A column group that a data set does not have is an array with zero columns, never a
missing key; only `mask` and `weights` may be absent."""

LossFn = Callable[..., Any]
"""`loss_fn(params, *args) -> losses [T]`, or `(losses [T], aux)` with `has_aux=True`."""


def widened(x: Array) -> Array:
    """Returns `x` in float32, or as it is where it is float64: what sums and exponentials are computed in."""
    return x if x.dtype == jnp.float64 else x.astype(jnp.float32)
