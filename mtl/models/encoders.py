"""Encoders: from raw columns to features, `ids [B, C], numeric [B, F] → x [B, D]`.

An entry of `ENCODERS` is a function `(schema, stack, dtype, …) -> module` that checks whether the schema
suits the encoder. `stack` is `()` for an encoder that all tasks share and `(T,)` for a private one per
task, whose result is `[T, B, D]`. The function's further arguments, all with defaults, can be set in a
model's spec; their annotations say what is accepted, as for the fields of an extractor. The module is called
with `(ids, numeric, rows=)`.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import flax.linen as nn
from jax.typing import DTypeLike

from mtl.errors import InputError
from mtl.layers import Encoder
from mtl.layers.lenet import LEAST_SIDE, LeNet

if TYPE_CHECKING:  # Only for the annotation: models run without the data sets' dependencies.
    from mtl.data import Schema


def columns(schema: "Schema", stack: tuple[int, ...], dtype: DTypeLike, embedding_dim: int = 8) -> nn.Module:
    """Makes the encoder of tables: embeddings of ids beside the numbers.

    Args:
      schema: the columns.
      stack: see `ENCODERS`.
      dtype: dtype of the features.
      embedding_dim: length of an embedding.

    Returns:
      The module.
    """
    vocab_sizes = tuple(column.vocab_size for column in schema.id_columns)
    return Encoder(vocab_sizes, embedding_dim, stack, dtype)


def lenet(schema: "Schema", stack: tuple[int, ...], dtype: DTypeLike) -> nn.Module:
    """Makes the encoder of square grey images.

    Args:
      schema: the columns: one per pixel, row by row.
      stack: see `ENCODERS`.
      dtype: dtype of the computation.

    Returns:
      The module.

    Raises:
      InputError: the columns are no such image.
    """
    pixels = len(schema.numeric_columns)
    if schema.id_columns or math.isqrt(pixels) ** 2 != pixels or pixels < LEAST_SIDE**2:
        raise InputError(
            f"encoder 'lenet' reads square images of {LEAST_SIDE}×{LEAST_SIDE} pixels or more and no ids, "
            f"but the data set has {pixels} numeric and {len(schema.id_columns)} id columns; use "
            "encoder='columns'"
        )
    return LeNet(stack, dtype)


ENCODERS: dict[str, Callable[..., nn.Module]] = {"columns": columns, "lenet": lenet}
