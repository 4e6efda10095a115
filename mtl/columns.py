"""Which id columns describe what: positions by role, and the sequences among them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from mtl.errors import InputError


class Schema(Protocol):
    """What is read here of `mtl.data.Schema`: models run without the data sets' dependencies."""

    @property
    def id_columns(self) -> Sequence[Any]:
        """Categorical columns."""

    @property
    def numeric_columns(self) -> Sequence[str]:
        """Names of the numeric columns."""


class Behaviours(NamedTuple):
    """A user's last L behaviours; every sequence has L columns, the most recent one first.

    Attributes:
      items: positions of the columns of each sequence of items, such as item and category.
      targets: for each of these the candidate's column whose table it reads.
      properties: positions of the columns of each other sequence, such as the kind of behaviour.
    """

    items: tuple[tuple[int, ...], ...]
    targets: tuple[int, ...]
    properties: tuple[tuple[int, ...], ...]


def role_columns(schema: Schema, role: str) -> tuple[int, ...]:
    """Returns the positions of the id columns with a role, those of sequences left out."""
    return tuple(i for i, c in enumerate(schema.id_columns) if c.role == role and not c.sequence)


def sequences(schema: Schema) -> tuple[tuple[int, ...], ...]:
    """Returns the positions of the columns of every sequence."""
    found: dict[str, list[int]] = {}
    for i, column in enumerate(schema.id_columns):
        if column.sequence:
            found.setdefault(column.sequence, []).append(i)
    return tuple(map(tuple, found.values()))


def sequence_targets(schema: Schema) -> tuple[int, ...]:
    """Returns for every sequence the item column whose table it reads; −1 where it reads none of an item."""
    owners = _owners(schema)
    target_of = {owners[i]: i for i in reversed(role_columns(schema, "item"))}
    return tuple(target_of.get(owners[first], -1) for first, *_ in sequences(schema))


def table_owners(schema: Schema) -> tuple[int, ...] | None:
    """Returns for each id column the column whose table it reads; None where each has its own."""
    owners = _owners(schema)
    return None if owners == tuple(range(len(owners))) else owners


def _owners(schema: Schema) -> tuple[int, ...]:
    names = [column.name for column in schema.id_columns]
    owners: list[int] = []
    for i, column in enumerate(schema.id_columns):
        owners.append(owners[names.index(column.table)] if column.table else i)
    return tuple(owners)


def sequence_numbers(schema: Schema) -> tuple[int, ...] | None:
    """Returns for each id column the number of its sequence, −1 for none; None where there are none."""
    names = list(dict.fromkeys(column.sequence for column in schema.id_columns if column.sequence))
    if not names:
        return None
    return tuple(names.index(c.sequence) if c.sequence else -1 for c in schema.id_columns)


def no_items(part: str, otherwise: str) -> InputError:
    """Makes the error of a part that reads a sequence of items where there is none."""
    return InputError(
        f"{part} reads a sequence of items, but the data set has no sequence with the table of an id column "
        f"of role 'item'; {otherwise}"
    )


def behaviours(schema: Schema, part: str, otherwise: str) -> Behaviours:
    """Finds the sequences that tell what a user did.

    Args:
      schema: the columns.
      part: the part of a model that reads them, for the message.
      otherwise: what to do where there are none, for the message.

    Returns:
      The sequences, at least one of them of items.

    Raises:
      InputError: no sequence reads the table of an item column, or the sequences differ in length.
    """
    targets = sequence_targets(schema)
    if max(targets, default=-1) < 0:
        raise no_items(part, otherwise)
    found = sequences(schema)
    lengths = sorted({len(positions) for positions in found})
    if len(lengths) > 1:
        raise InputError(
            f"{part} reads sequences of one length, but those of the data set have lengths "
            f"{', '.join(map(str, lengths))}; {otherwise}"
        )
    return Behaviours(
        items=tuple(s for s, target in zip(found, targets, strict=True) if target >= 0),
        targets=tuple(target for target in targets if target >= 0),
        properties=tuple(s for s, target in zip(found, targets, strict=True) if target < 0),
    )


def channel_columns(schema: Schema) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Finds the vectors of pre-trained recall channels, see `mtl.data.with_channels`.

    Args:
      schema: the columns.

    Returns:
      For each channel the positions of the user's and of the item's vector among the numeric columns.
    """
    found: dict[str, dict[str, list[int]]] = {}
    for i, name in enumerate(schema.numeric_columns):
        prefix, *rest = name.split(":")
        if prefix == "channel" and len(rest) == 3:
            channel, side, _ = rest
            found.setdefault(channel, {"user": [], "item": []})[side].append(i)
    return tuple((tuple(sides["user"]), tuple(sides["item"])) for sides in found.values())
