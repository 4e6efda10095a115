"""The match tower of DMR 2.0: user vectors of several recall channels."""

from typing import TYPE_CHECKING, Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.columns import channel_columns, role_columns
from mtl.errors import InputError
from mtl.layers import Heads, StackedDense, StackedMLP, VectorTower, columns_at, joined, live_mean
from mtl.side_towers.logits import dot
from mtl.side_towers.match import UserNetwork, next_item_loss, shares, two_behaviours
from mtl.types import Array

if TYPE_CHECKING:  # Only for the annotation: models run without the data sets' dependencies.
    from mtl.data import Schema


def channels(
    schema: "Schema",
    dtype: DTypeLike,
    stage: Literal["end_to_end", "two_stage"] = "end_to_end",
    match_dim: int = 8,
    match_units: int = 16,
    match_features: tuple[int, ...] = (16,),
    auxiliary_weight: float = 0.1,
    num_sampled: int = 64,
) -> nn.Module:
    """Makes the match tower of DMR 2.0.

        o_t = s_main + wᵀ MLP_t([⟨u_1, v_1⟩ ; … ; ⟨u_C, v_C⟩ ; ū]) + b,   ū = Σ_c W_c u_c

    u_c is the user's vector in recall channel c, v_c the candidate's, and ū the user's shared embedding,
    pooled over the channels.

    With `two_stage` the vectors have been trained before and are numeric columns of the data set
    (`mtl.data.with_channels`); nothing moves them. With `end_to_end` they are trained together with the rest:

    * behaviour (U2A): u of the attention of `match` over the behaviours, v a table of items;
    * co-occurrence (U2A2A): u the mean of vectors of the items in the history, v another table of items;
    * profile, if the data set has user columns: networks of the user's and of the item's columns.

    The first two also learn to find the last behaviour from those before it, as in `match`, each with weight
    β; the third learns from the tasks alone.

    Args:
      schema: the columns, with pre-trained channels, or with a sequence of at least two that reads the table
        of an item column.
      dtype: dtype of the computation.
      stage: `end_to_end` or `two_stage`.
      match_dim: length of the vectors that are trained, and of ū.
      match_units: units of the attention of the first channel.
      match_features: units of each hidden layer.
      auxiliary_weight: β.
      num_sampled: items drawn at random for the auxiliary losses.

    Returns:
      The module.

    Raises:
      InputError: there are no pre-trained channels, or no such sequence.

    Reference: none is published for this second version of DMR. For the first channel and the auxiliary loss
      Lyu et al., Deep Match to Rank Model for Personalized Click-Through Rate Prediction, AAAI 2020.
    """
    given: dict[str, Any] = {
        "num_outputs": tuple(task.num_outputs for task in schema.tasks),
        "dim": match_dim,
        "features": match_features,
        "dtype": dtype,
    }
    if stage == "two_stage":
        fixed = channel_columns(schema)
        if not fixed:
            raise InputError(
                "side_tower 'channels' with stage='two_stage' reads pre-trained channels, but the data set "
                "has none; add them with mtl.data.with_channels, or use stage='end_to_end'"
            )
        return ChannelTower(fixed=fixed, **given)
    part, otherwise = "side_tower 'channels' with stage='end_to_end'", "use side_tower='none'"
    found = two_behaviours(schema, part, otherwise)
    return ChannelTower(
        *found,
        vocab_size=schema.id_columns[found.targets[0]].vocab_size,
        users=role_columns(schema, "user"),
        candidates=role_columns(schema, "item"),
        units=match_units,
        auxiliary_weight=auxiliary_weight,
        num_sampled=num_sampled,
        **given,
    )


class ChannelTower(nn.Module):
    """See `channels`.

    Attributes:
      items: positions of the columns of each sequence of items, the most recent behaviour first.
      targets: positions of the candidate's columns that these read.
      properties: positions of the columns of each sequence of properties.
      vocab_size: number of items.
      users: positions of the user's columns.
      candidates: positions of the candidate's columns.
      num_outputs: K_t of each task.
      fixed: positions of the pre-trained vectors of user and item of each channel among the numbers; where
        there are any, nothing above is read.
      dim: length of the vectors.
      units: units of the attention.
      features: units of each hidden layer.
      auxiliary_weight: β.
      num_sampled: items drawn at random for the auxiliary losses.
      dtype: dtype of the computation; parameters are float32.
    """

    items: tuple[tuple[int, ...], ...] = ()
    targets: tuple[int, ...] = ()
    properties: tuple[tuple[int, ...], ...] = ()
    vocab_size: int = 0
    users: tuple[int, ...] = ()
    candidates: tuple[int, ...] = ()
    num_outputs: tuple[int, ...] = (1,)
    fixed: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()
    dim: int = 8
    units: int = 16
    features: tuple[int, ...] = (16,)
    auxiliary_weight: float = 0.1
    num_sampled: int = 64
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, ids: Array, numeric: Array, rows: Array, *, train: bool = False) -> Array:
        """Computes what is added.

        Args:
          x: not read.
          ids: `[B, C]`; 0 in the first sequence of items is padding, of all sequences.
          numeric: `[B, F]`, of which pre-trained vectors are read.
          rows: embeddings `[B, C, E]` or `[T, B, C, E]`.
          train: whether the auxiliary losses are sown in `penalties`; they draw from the `dropout` stream.

        Returns:
          `[T, B, K_max]` float32.
        """
        stack, num_tasks = rows.shape[:-3], len(self.num_outputs)
        if self.fixed:
            pairs = [(numeric[:, list(user)], numeric[:, list(item)]) for user, item in self.fixed]
        else:
            pairs = self._trained(ids, rows.astype(self.dtype), train)
        products = jnp.stack([dot(user, item) for user, item in pairs], axis=-1).astype(self.dtype)
        users = jnp.concatenate([user.astype(self.dtype) for user, _ in pairs], axis=-1)
        shared = StackedDense(stack, self.dim, use_bias=False, dtype=self.dtype, name="shared")(users)
        products = jnp.broadcast_to(products, (*shared.shape[:-1], len(pairs)))
        inputs = jnp.concatenate([products, shared], axis=-1)
        hidden = StackedMLP((num_tasks,), self.features, self.dtype, name="mlp")(inputs)
        return Heads(self.num_outputs, name="heads")(hidden)

    def _trained(self, ids: Array, rows: Array, train: bool) -> list[tuple[Array, Array]]:
        """Vectors of user and candidate `[*S, B, M]` in every channel that is trained here."""
        stack, length = rows.shape[:-3], len(self.items[0])
        items, properties = (joined(rows, found, length) for found in (self.items, self.properties))
        history, candidate = ids[:, list(self.items[0])], ids[:, self.targets[0]]
        live = history > 0

        def table(name):
            shape = (*stack, self.vocab_size, self.dim)
            values = self.param(name, nn.initializers.normal(self.dim**-0.5), shape, jnp.float32)
            return values.astype(self.dtype)

        network = UserNetwork(stack, length, self.dim, self.units, self.dtype, name="behaviour")
        behaviour, source, reached = (table(f"{name}_items") for name in ("behaviour", "source", "reached"))
        sources = jnp.take(source, history, axis=-2)
        pairs = [
            (network(items, properties, live), jnp.take(behaviour, candidate, axis=-2)),
            (live_mean(sources, live), jnp.take(reached, candidate, axis=-2)),
        ]
        if self.users:
            pair = []
            for name, columns in (("user", self.users), ("item", self.candidates)):
                tower = VectorTower(stack, self.features, self.dim, self.dtype, name=f"profile_{name}")
                pair.append(tower(columns_at(rows, columns)))
            pairs.append((pair[0], pair[1]))
        if train and self.auxiliary_weight:
            earlier = live[:, 1:]
            before = network(items[..., 1:, :], properties[..., 1:, :], earlier)
            cases = ((before, behaviour), (live_mean(sources[..., 1:, :], earlier), reached))
            for users, vectors in cases:
                key = self.make_rng("dropout")
                loss = self.auxiliary_weight * next_item_loss(users, vectors, history, self.num_sampled, key)
                self.sow("penalties", "auxiliary", shares(loss, len(self.num_outputs)))
        return pairs
