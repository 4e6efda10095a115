"""The match tower of DMR 1.0: how relevant the candidate is to the user, beside the ranking tower."""

from typing import TYPE_CHECKING

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.columns import Behaviours, behaviours
from mtl.errors import InputError
from mtl.layers import (
    AdditiveScores,
    StackedDense,
    joined,
    live_softmax,
    sampled_softmax_loss,
    weighted_sum,
)
from mtl.side_towers.logits import as_outputs, check_binary, dot
from mtl.types import Array

if TYPE_CHECKING:  # Only for the annotation: models run without the data sets' dependencies.
    from mtl.data import Schema


def match(
    schema: "Schema",
    dtype: DTypeLike,
    match_dim: int = 8,
    match_units: int = 16,
    auxiliary_weight: float = 0.1,
    num_sampled: int = 64,
) -> nn.Module:
    """Makes the match tower of DMR 1.0, with its own auxiliary loss.

        o_t = s_main + w_t ⟨u, v_c⟩ + w'_t Σ_l â_l
        u = g(Σ_l a_l e_l),   a = softmax_l(zᵀ tanh(W [e_l ; p_l] + P_l + b))       user to item
        â_l = ẑᵀ tanh(Ŵ [q ; e_l ; p_l] + P̂_l + b̂)                                  item to item

    e_l are the embeddings of the items of behaviour l, p_l those of its properties and P_l that of its place;
    q are those of the candidate c, and v is a table of its own. g is a layer with PReLU. Padding is left out,
    and a user without history has relevance 0. w_t, w'_t start at 1; the logit is added for binary tasks.

    The auxiliary loss makes ⟨u, v⟩ a preference: u of the behaviours before the last one has to find the last
    one among items drawn at random (`sampled_softmax_loss`), over the rows with two behaviours or more. With
    weight β every one of T task losses gets β/T of it, so that equal weights count it once; where tasks have
    embeddings of their own, each has a match tower of its own and gets all of it.

    Args:
      schema: the columns, with a sequence of at least two that reads the table of an item column.
      dtype: dtype of the computation.
      match_dim: length of u and v.
      match_units: units of the attention.
      auxiliary_weight: β.
      num_sampled: items drawn at random for the auxiliary loss.

    Returns:
      The module.

    Raises:
      InputError: there is no such sequence, or no binary task.

    Reference: Lyu et al., Deep Match to Rank Model for Personalized Click-Through Rate Prediction, AAAI 2020.

    Departures: there both relevances are inputs of the ranking network; here they are added to its output.
    For the auxiliary loss places are counted from the behaviour before the last, as they would be had the
    last one not happened yet.
    """
    part, otherwise = "side_tower 'match'", "use side_tower='none'"
    found = two_behaviours(schema, part, otherwise)
    check_binary(schema, part)
    return MatchTower(
        *found,
        vocab_size=schema.id_columns[found.targets[0]].vocab_size,
        kinds=tuple(task.kind for task in schema.tasks),
        num_outputs=tuple(task.num_outputs for task in schema.tasks),
        dim=match_dim,
        units=match_units,
        auxiliary_weight=auxiliary_weight,
        num_sampled=num_sampled,
        dtype=dtype,
    )


def two_behaviours(schema: "Schema", part: str, otherwise: str) -> Behaviours:
    """Returns `behaviours`, which have to be two or more: a next item is learned from those before it."""
    found = behaviours(schema, part, otherwise)
    if len(found.items[0]) < 2:
        raise InputError(f"{part} reads sequences of 2 behaviours or more, those here have 1; {otherwise}")
    return found


class UserNetwork(nn.Module):
    """The user's vector u from behaviours, see `match`.

    Attributes:
      stack: sizes of the stack axes, `()` or `(T,)`.
      length: L, the number of places.
      dim: length of u.
      units: units of the attention.
      dtype: dtype of the computation; parameters are float32.
    """

    stack: tuple[int, ...]
    length: int
    dim: int
    units: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, items: Array, properties: Array, live: Array) -> Array:
        """Computes u.

        Args:
          items: e `[*stack, B, L', E]`, L' ≤ L, the most recent behaviour first.
          properties: p `[*stack, B, L', P]`; P may be 0.
          live: `[B, L']` bool, false for padding.

        Returns:
          `[*stack, B, dim]`.
        """
        attention = AdditiveScores(self.stack, self.length, self.units, self.dtype, name="attention")
        scores = attention(items, properties)
        pooled = weighted_sum(live_softmax(scores, live), items)
        u = StackedDense(self.stack, self.dim, dtype=self.dtype, name="vector")(pooled)
        slope = self.param("slope", nn.initializers.constant(0.25), (*self.stack, 1, self.dim), jnp.float32)
        u = jnp.where(u > 0, u, slope.astype(self.dtype) * u)
        return jnp.where(jnp.any(live, axis=-1, keepdims=True), u, 0)


class MatchTower(nn.Module):
    """See `match`.

    Attributes:
      items: positions of the columns of each sequence of items, the most recent behaviour first.
      targets: positions of the candidate's columns.
      properties: positions of the columns of each sequence of properties.
      vocab_size: number of items.
      kinds: each task's kind.
      num_outputs: K_t of each task.
      dim: length of u and v.
      units: units of the attention.
      auxiliary_weight: β.
      num_sampled: items drawn at random for the auxiliary loss.
      dtype: dtype of the computation; parameters are float32.
    """

    items: tuple[tuple[int, ...], ...]
    targets: tuple[int, ...]
    properties: tuple[tuple[int, ...], ...]
    vocab_size: int
    kinds: tuple[str, ...]
    num_outputs: tuple[int, ...]
    dim: int = 8
    units: int = 16
    auxiliary_weight: float = 0.1
    num_sampled: int = 64
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, ids: Array, numeric: Array, rows: Array, *, train: bool = False) -> Array:
        """Computes what is added.

        Args:
          x: not read.
          ids: `[B, C]`; 0 in the first sequence of items is padding, of all sequences.
          numeric: not read.
          rows: embeddings `[B, C, E]` or `[T, B, C, E]`.
          train: whether the auxiliary loss is sown in `penalties`; it draws from the `dropout` stream.

        Returns:
          `[T, B, K_max]` float32 or wider.
        """
        stack, length, num_tasks = rows.shape[:-3], len(self.items[0]), len(self.kinds)
        rows = rows.astype(self.dtype)
        items, properties = (joined(rows, found, length) for found in (self.items, self.properties))
        history, candidate = ids[:, list(self.items[0])], ids[:, self.targets[0]]
        live = history > 0
        user = UserNetwork(stack, length, self.dim, self.units, self.dtype, name="user")
        table = self.param(
            "items", nn.initializers.normal(self.dim**-0.5), (*stack, self.vocab_size, self.dim), jnp.float32
        )
        vectors = table.astype(self.dtype)
        of_user = dot(user(items, properties, live), jnp.take(vectors, candidate, axis=-2))

        query = joined(rows, [[target] for target in self.targets], 1)
        attention = AdditiveScores(stack, length, self.units, self.dtype, name="item_to_item")
        scores = attention(query, items, properties)
        of_item = jnp.sum(jnp.where(live, scores, 0.0), axis=-1)

        if train and self.auxiliary_weight:
            before = user(items[..., 1:, :], properties[..., 1:, :], live[:, 1:])
            loss = next_item_loss(before, vectors, history, self.num_sampled, self.make_rng("dropout"))
            self.sow("penalties", "auxiliary", shares(self.auxiliary_weight * loss, num_tasks))
        scale = self.param("scale", nn.initializers.ones, (num_tasks, 2), jnp.float32)
        relevance = scale[:, :1] * of_user + scale[:, 1:] * of_item
        return as_outputs(relevance, self.kinds, self.num_outputs)


def next_item_loss(before: Array, vectors: Array, history: Array, num_sampled: int, key: Array) -> Array:
    """Loss of finding a user's last item from those before it, see `match`.

    Args:
      before: user vectors `[*S, B, M]` without the last behaviour.
      vectors: items `[*S, V, M]`.
      history: ids `[B, L]`, the most recent one first, 0 for padding.
      num_sampled: items drawn at random.
      key: of the draw.

    Returns:
      `[*S]`, the mean over the rows with a last behaviour and one before it; 0 without any.
    """
    known = (history[:, 0] > 0) & jnp.any(history[:, 1:] > 0, axis=-1)
    return sampled_softmax_loss(before, vectors, history[:, 0], known, num_sampled, key)


def shares(loss: Array, num_tasks: int) -> Array:
    """Spreads a loss that the tasks share `[]` over them `[T]`; one per task `[T]` stays as it is."""
    return jnp.broadcast_to(loss / num_tasks, (num_tasks,)) if loss.ndim == 0 else loss
