"""Encoders: from raw columns to features, `ids [B, C], numeric [B, F] → x [B, D]`.

An entry of `ENCODERS` is a function `(schema, stack, dtype, …) -> module` that checks whether the schema
suits the encoder. `stack` is `()` for an encoder that all tasks share and `(T,)` for a private one per
task, whose result is `[T, B, D]`. The function's further arguments, all with defaults, can be set in a
model's spec; their annotations say what is accepted, as for the fields of an extractor. The module is called
with `(ids, numeric, rows=)`.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import flax.linen as nn
from jax.typing import DTypeLike

from mtl.errors import InputError
from mtl.layers import NCF, Encoder
from mtl.layers.lenet import LEAST_SIDE, LeNet

if TYPE_CHECKING:  # Only for the annotation: models run without the data sets' dependencies.
    from mtl.data import Schema


def columns(schema: "Schema", stack: tuple[int, ...], dtype: DTypeLike, embedding_dim: int = 8) -> nn.Module:
    """Makes the encoder of tables: embeddings of ids, sequences averaged, beside the numbers.

    Args:
      schema: the columns.
      stack: see `ENCODERS`.
      dtype: dtype of the features.
      embedding_dim: length of an embedding.

    Returns:
      The module.
    """
    vocab_sizes = tuple(column.vocab_size for column in schema.id_columns)
    return Encoder(vocab_sizes, embedding_dim, stack, dtype, table_owners(schema), sequence_numbers(schema))


def table_owners(schema: "Schema") -> tuple[int, ...] | None:
    """Returns for each id column the column whose table it reads; None where each has its own."""
    names = [column.name for column in schema.id_columns]
    owners = tuple(names.index(column.table or column.name) for column in schema.id_columns)
    return None if owners == tuple(range(len(names))) else owners


def sequence_numbers(schema: "Schema") -> tuple[int, ...] | None:
    """Returns for each id column the number of its sequence, −1 for none; None where there are none."""
    names = list(dict.fromkeys(column.sequence for column in schema.id_columns if column.sequence))
    if not names:
        return None
    return tuple(names.index(c.sequence) if c.sequence else -1 for c in schema.id_columns)


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


def ncf(
    schema: "Schema",
    stack: tuple[int, ...],
    dtype: DTypeLike,
    embedding_dim: int = 8,
    interaction: Literal["gmf", "mlp", "neumf"] = "neumf",
    interaction_features: tuple[int, ...] = (16, 8),
) -> nn.Module:
    """Makes the encoder of neural collaborative filtering: the interaction of user and item.

    Args:
      schema: the columns, some with the role `user` and some with `item`; the others are not read.
      stack: see `ENCODERS`.
      dtype: dtype of the features.
      embedding_dim: length of an embedding.
      interaction: `gmf` (p ⊙ q), `mlp` (a network of [p ; q]) or `neumf` (both, with embeddings of their
        own).
      interaction_features: units of each layer of that network.

    Returns:
      The module.

    Raises:
      InputError: there is no user or no item column.
    """
    users, items = (
        tuple(i for i, column in enumerate(schema.id_columns) if column.role == role and not column.sequence)
        for role in ("user", "item")
    )
    if not users or not items:
        raise InputError(
            "encoder 'ncf' reads id columns with the roles 'user' and 'item', but the data set has "
            f"{len(users)} and {len(items)}; use encoder='columns'"
        )
    vocab_sizes = tuple(column.vocab_size for column in schema.id_columns)
    tables = Encoder(vocab_sizes, embedding_dim, stack, dtype, table_owners(schema))
    return NCF(tables, users, items, interaction, interaction_features)


ENCODERS: dict[str, Callable[..., nn.Module]] = {"columns": columns, "lenet": lenet, "ncf": ncf}
