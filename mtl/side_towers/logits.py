"""From a relevance to what is added to the outputs."""

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from mtl.errors import InputError
from mtl.types import Array, widened

if TYPE_CHECKING:  # Only for the annotation: models run without the data sets' dependencies.
    from mtl.data import Schema


def check_binary(schema: "Schema", part: str) -> None:
    """Raises an `InputError` unless some task is binary, so that there is a logit to add to."""
    if not any(task.kind == "binary" for task in schema.tasks):
        raise InputError(
            f"{part} adds to the logits of binary tasks, but the data set has none; use side_tower='none'"
        )


def as_outputs(relevance: Array, kinds: tuple[str, ...], num_outputs: tuple[int, ...]) -> Array:
    """Puts a relevance where the logit of a binary task is.

    Args:
      relevance: `[T, B]`.
      kinds: each task's kind.
      num_outputs: K_t of each task.

    Returns:
      `[T, B, K_max]` float32 or wider; 0 for tasks of other kinds.
    """
    binary = np.array([kind == "binary" for kind in kinds])
    logits = jnp.where(binary[:, None], widened(relevance), 0.0)[..., None]
    return jnp.pad(logits, [(0, 0), (0, 0), (0, max(num_outputs) - 1)])


def dot(a: Array, b: Array) -> Array:
    """Dot products over the last axis, in float32 or wider."""
    return jnp.sum(widened(a) * widened(b), axis=-1)
