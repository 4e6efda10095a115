"""RUI 2 and 3: towers of the item that a user comes from, of the user, and of the candidate."""

from typing import TYPE_CHECKING

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.columns import role_columns, sequence_numbers
from mtl.errors import InputError
from mtl.layers import VectorTower, columns_at, pool_sequences
from mtl.side_towers.logits import as_outputs, check_binary, dot
from mtl.types import Array

if TYPE_CHECKING:  # Only for the annotation: models run without the data sets' dependencies.
    from mtl.data import Schema


def refer(
    schema: "Schema",
    dtype: DTypeLike,
    match_features: tuple[int, ...] = (16,),
    match_dim: int = 8,
) -> nn.Module:
    """Makes a tower of the item that the user comes from and one of the candidate (RUI 2).

        o_t = s_main + ⟨r_t, i_t⟩,   r_t = MLP_t(refer),   i_t = MLP_t(item)

    The logit is added for binary tasks. In a feed that opens from an item, this item says what the user
    wants now: it gets a short path of its own, past the ranker that reads it as one feature of many.

    Args:
      schema: the columns, some with the role `refer` and some with `item`.
      dtype: dtype of the towers.
      match_features: units of each hidden layer of a tower.
      match_dim: length of the vectors.

    Returns:
      The module.

    Raises:
      InputError: there is no refer or no item column, or no binary task.

    Reference: none is published; this is the second version of the refer-user-item (RUI) rankers of
      full-screen feeds. In the first version the refer columns are ordinary inputs, as in any preset.
    """
    return _tower(schema, dtype, "refer", ("refer", "item"), match_features, match_dim)


def rui(
    schema: "Schema",
    dtype: DTypeLike,
    match_features: tuple[int, ...] = (16,),
    match_dim: int = 8,
) -> nn.Module:
    """Makes the match network of three towers: refer, user and item (RUI 3).

        o_t = s_main + ⟨u_t, r_t⟩ ⟨r_t, i_t⟩ + ⟨u_t, i_t⟩

    with u_t = MLP_t(user), r_t = MLP_t(refer) and i_t = MLP_t(item): how well the candidate matches the item
    that the user comes from counts as much as that item matches the user. No tower sees another's input. The
    user's columns include the sequences, averaged. The logit is added for binary tasks.

    Args:
      schema: the columns, some with each of the roles `refer`, `user` and `item`.
      dtype: dtype of the towers.
      match_features: units of each hidden layer of a tower.
      match_dim: length of the vectors.

    Returns:
      The module.

    Raises:
      InputError: there is no refer, user or item column, or no binary task.

    Reference: none is published; this is the third version of the refer-user-item (RUI) rankers of
      full-screen feeds, u2r · r2i + u2i.
    """
    return _tower(schema, dtype, "rui", ("refer", "user", "item"), match_features, match_dim)


def _tower(
    schema: "Schema",
    dtype: DTypeLike,
    name: str,
    roles: tuple[str, ...],
    features: tuple[int, ...],
    dim: int,
) -> nn.Module:
    columns = {role: role_columns(schema, role) for role in roles}
    missing = [role for role in roles if not columns[role]]
    if missing:
        raise InputError(
            f"side_tower {name!r} reads id columns with the roles {', '.join(map(repr, roles))}, but the "
            f"data set has none with {' and '.join(map(repr, missing))}; use side_tower='none'"
        )
    check_binary(schema, f"side_tower {name!r}")
    return ReferTower(
        refers=columns["refer"],
        users=columns.get("user", ()),
        items=columns["item"],
        sequences=sequence_numbers(schema),
        kinds=tuple(task.kind for task in schema.tasks),
        num_outputs=tuple(task.num_outputs for task in schema.tasks),
        features=features,
        dim=dim,
        dtype=dtype,
    )


class ReferTower(nn.Module):
    """See `refer` and `rui`.

    Attributes:
      refers: positions of the columns of the item that the user comes from.
      users: positions of the user's columns; empty for `refer`.
      items: positions of the candidate's columns.
      sequences: for each column the number of its sequence, see `pool_sequences`.
      kinds: each task's kind.
      num_outputs: K_t of each task.
      features: units of each hidden layer of a tower.
      dim: length of the vectors.
      dtype: dtype of the towers; parameters are float32.
    """

    refers: tuple[int, ...]
    users: tuple[int, ...]
    items: tuple[int, ...]
    sequences: tuple[int, ...] | None
    kinds: tuple[str, ...]
    num_outputs: tuple[int, ...]
    features: tuple[int, ...] = (16,)
    dim: int = 8
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, ids: Array, numeric: Array, rows: Array, *, train: bool = False) -> Array:
        """Computes what is added.

        Args:
          x: not read.
          ids: `[B, C]`, of which padding is read.
          numeric: not read.
          rows: embeddings `[B, C, E]` or `[T, B, C, E]`.
          train: not read.

        Returns:
          `[T, B, K_max]` float32.
        """

        def vectors(name, rows):
            return VectorTower((len(self.kinds),), self.features, self.dim, self.dtype, name=name)(rows)

        r = vectors("refer", columns_at(rows, self.refers))
        i = vectors("item", columns_at(rows, self.items))
        score = dot(r, i)
        if self.users:
            own = columns_at(rows, self.users)
            if self.sequences is not None:
                inside = [c for c, number in enumerate(self.sequences) if number >= 0]
                numbers = [self.sequences[c] for c in inside]
                pooled = pool_sequences(ids[:, inside], columns_at(rows, inside), numbers)
                own = jnp.concatenate([own, pooled], axis=-2)
            u = vectors("user", own)
            score = dot(u, r) * score + dot(u, i)
        return as_outputs(score, self.kinds, self.num_outputs)
