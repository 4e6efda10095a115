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

from mtl.columns import (
    behaviours,
    no_items,
    role_columns,
    sequence_numbers,
    sequence_targets,
    sequences,
    table_owners,
)
from mtl.errors import InputError
from mtl.layers import DIN, DUPN, NCF, Crosses, Encoder
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
    return _tables(schema, stack, dtype, embedding_dim)


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
    users, items = role_columns(schema, "user"), role_columns(schema, "item")
    if not users or not items:
        raise InputError(
            "encoder 'ncf' reads id columns with the roles 'user' and 'item', but the data set has "
            f"{len(users)} and {len(items)}; use encoder='columns'"
        )
    vocab_sizes = tuple(column.vocab_size for column in schema.id_columns)
    tables = Encoder(vocab_sizes, embedding_dim, stack, dtype, table_owners(schema))
    return NCF(tables, users, items, interaction, interaction_features)


def din(
    schema: "Schema",
    stack: tuple[int, ...],
    dtype: DTypeLike,
    embedding_dim: int = 8,
    attention_features: tuple[int, ...] = (36,),
    softmax: bool = False,
) -> nn.Module:
    """Makes the encoder of the deep interest network: sequences of items, pooled for the candidate.

    Args:
      schema: the columns, with a sequence that reads the table of an item column. Each such sequence is
        pooled with that column as query; all else is as in `columns`.
      stack: see `ENCODERS`.
      dtype: dtype of the features.
      embedding_dim: length of an embedding.
      attention_features: units of each hidden layer of an activation unit.
      softmax: whether the weights of a history are normalised; a sum tells how much of it is relevant.

    Returns:
      The module.

    Raises:
      InputError: no sequence reads the table of an item column.
    """
    targets = sequence_targets(schema)
    if max(targets, default=-1) < 0:
        raise no_items("encoder 'din'", "use encoder='columns'")
    return DIN(_tables(schema, stack, dtype, embedding_dim), targets, attention_features, softmax)


def dupn(
    schema: "Schema",
    stack: tuple[int, ...],
    dtype: DTypeLike,
    embedding_dim: int = 8,
    attention_features: tuple[int, ...] = (16,),
    user_units: int = 16,
) -> nn.Module:
    """Makes the encoder of the deep user perception network: one user vector for all tasks.

    Args:
      schema: the columns, with a sequence that reads the table of an item column; other sequences are
        properties of the same behaviours.
      stack: see `ENCODERS`.
      dtype: dtype of the features.
      embedding_dim: length of an embedding.
      attention_features: units of each hidden layer of the attention.
      user_units: length of the user vector.

    Returns:
      The module.

    Raises:
      InputError: no sequence reads the table of an item column, or the sequences differ in length.
    """
    found = behaviours(schema, "encoder 'dupn'", "use encoder='columns'")
    others = tuple(i for i, column in enumerate(schema.id_columns) if not column.sequence)
    tables = _tables(schema, stack, dtype, embedding_dim)
    return DUPN(tables, found.items, found.properties, others, user_units, attention_features)


def crosses(schema: "Schema", stack: tuple[int, ...], dtype: DTypeLike, embedding_dim: int = 8) -> nn.Module:
    """Makes the encoder of direct inputs and crosses: columns, and products of user and item embeddings.

    Args:
      schema: the columns, some with the role `item`, and some with the role `user` or sequences of items.
      stack: see `ENCODERS`.
      dtype: dtype of the features.
      embedding_dim: length of an embedding.

    Returns:
      The module.

    Raises:
      InputError: there is nothing on the user's or on the item's side.
    """
    # Where a column is once each sequence counts as one: its first position stands for it.
    first = {positions[0]: target for positions, target in zip(sequences(schema), sequence_targets(schema))}
    kept = [i for i, column in enumerate(schema.id_columns) if not column.sequence or i in first]
    users = role_columns(schema, "user") + tuple(i for i, target in first.items() if target >= 0)
    items = role_columns(schema, "item")
    if not users or not items:
        raise InputError(
            "encoder 'crosses' reads id columns of the user, or a sequence of items, and id columns of the "
            f"item, but the data set has {len(users)} and {len(items)}; use encoder='columns'"
        )
    return Crosses(
        _tables(schema, stack, dtype, embedding_dim),
        tuple(kept.index(i) for i in users),
        tuple(kept.index(i) for i in items),
    )


def _tables(schema: "Schema", stack: tuple[int, ...], dtype: DTypeLike, embedding_dim: int) -> Encoder:
    vocab_sizes = tuple(column.vocab_size for column in schema.id_columns)
    return Encoder(vocab_sizes, embedding_dim, stack, dtype, table_owners(schema), sequence_numbers(schema))


ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "columns": columns,
    "lenet": lenet,
    "ncf": ncf,
    "din": din,
    "dupn": dupn,
    "crosses": crosses,
}
