"""Attention over a sequence with padding: DIN's activation unit, and additive scores."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers.embedding import Encoder, beside, pool_sequences
from mtl.layers.mlp import StackedMLP
from mtl.layers.stacked_dense import RELU_GAIN, StackedDense, stacked_init, stacked_matmul
from mtl.types import Array, widened


def live_softmax(scores: Array, live: Array) -> Array:
    """Softmax over the last axis among the positions that are live.

    Args:
      scores: `[*S, B, L]`.
      live: `[B, L]` bool.

    Returns:
      `[*S, B, L]`, 0 where not live, of sum 1; all 0 where no position is live.
    """
    scores = jnp.where(live, scores, -jnp.inf)
    # An empty row has no largest score: any number will do, as all its weights are 0.
    top = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    raised = jnp.exp(scores - jnp.where(jnp.isfinite(top), top, 0.0))
    total = jnp.sum(raised, axis=-1, keepdims=True)
    return raised / jnp.where(total > 0, total, 1.0)


def positions(x: Array) -> Array:
    """Puts the positions of all rows in one axis, `[*S, B, L, D] → [*S, B·L, D]`."""
    return x.reshape(*x.shape[:-3], -1, x.shape[-1])


def weighted_sum(weights: Array, values: Array) -> Array:
    """Adds values `[*S, B, L, E]` with weights `[*S, B, L]`: `[*S, B, E]`."""
    return jnp.sum(weights[..., None].astype(values.dtype) * values, axis=-2)


class PositionScores(nn.Module):
    """A number for every position of a sequence, from a network that all share, in float32 or wider.

        s_l = wᵀ MLP(x_l) + b

    Attributes:
      stack: sizes of the stack axes, `()` or `(T,)`.
      features: units of each hidden layer, with ReLU.
      dtype: dtype of the hidden layers; parameters are float32.
    """

    stack: tuple[int, ...]
    features: tuple[int, ...]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *others: Array) -> Array:
        """Scores positions.

        Args:
          x: `[*stack, B, L, D]`, or `[*stack, B, 1, D]` for what all positions have in common.
          others: what stands beside it, likewise; one input at least has all positions.

        Returns:
          `[*stack, B, L]` float32 or wider.
        """
        inputs = map(positions, (x, *others))
        hidden = widened(StackedMLP(self.stack, self.features, self.dtype, name="mlp")(*inputs))
        score = StackedDense(self.stack, 1, dtype=hidden.dtype, name="score")
        return score(hidden).reshape(*x.shape[:-2], -1)


class AdditiveScores(nn.Module):
    """A number for every position of a sequence, by additive attention with its place, in float32 or wider.

        s_l = zᵀ tanh(W x_l + p_l + b)

    The learned p_l is that of the l-th place, counted from the most recent one.

    Attributes:
      stack: sizes of the stack axes, `()` or `(T,)`.
      length: L, the number of places.
      features: units of z.
      dtype: dtype of the hidden layer; parameters are float32.
    """

    stack: tuple[int, ...]
    length: int
    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *others: Array) -> Array:
        """Scores positions.

        Args:
          x: `[*stack, B, L', D]`, L' ≤ L, or `[*stack, B, 1, D]` for what all positions have in common;
            the first position has place 0.
          others: what stands beside it, likewise; one input at least has all positions.

        Returns:
          `[*stack, B, L']` float32 or wider.
        """
        places = self.param(
            "places", nn.initializers.normal(0.1), (*self.stack, 1, self.length, self.features), jnp.float32
        )
        dense = StackedDense(self.stack, self.features, dtype=self.dtype, name="dense")
        hidden = dense(*map(positions, (x, *others)))
        hidden = hidden.reshape(*x.shape[:-2], -1, self.features)
        hidden = nn.tanh(hidden + places[..., : hidden.shape[-2], :].astype(self.dtype))
        hidden = widened(hidden)
        score = StackedDense(self.stack, 1, use_bias=False, dtype=hidden.dtype, name="score")
        return score(positions(hidden)).reshape(hidden.shape[:-1])


class ActivationUnit(nn.Module):
    """Pools a sequence by how relevant each of its positions is to a candidate.

        v = Σ_l a_l k_l,   a_l = wᵀ MLP([q ; k_l ; q − k_l ; q ⊙ k_l]) + b

    over the positions that are not padding. The weights a are not normalised, so that v also tells how much
    of the history is relevant; with `softmax` they are. Padding reaches neither v nor a gradient, and an
    empty history gives v = 0.

    Reference: Zhou et al., Deep Interest Network for Click-Through Rate Prediction, KDD 2018,
      https://arxiv.org/abs/1706.06978, the local activation unit.

    Departures: ReLU in place of PReLU or Dice. The input is that of the authors' published code, which has
    the difference and the product of q and k.

    Attributes:
      stack: sizes of the stack axes, `()` or `(T,)`.
      features: units of each hidden layer.
      softmax: whether the weights are normalised.
      dtype: dtype of the computation; parameters are float32.
    """

    stack: tuple[int, ...] = ()
    features: tuple[int, ...] = (36,)
    softmax: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, query: Array, keys: Array, live: Array) -> Array:
        """Pools a sequence.

        Args:
          query: q `[*stack, B, E]`, the candidate.
          keys: k `[*stack, B, L, E]`.
          live: `[B, L]` bool, false for padding.

        Returns:
          v `[*stack, B, E]`.
        """
        width, first = keys.shape[-1], self.features[0]
        shape = (*self.stack, 4 * width, first)
        kernel = self.param("kernel", stacked_init(len(self.stack), RELU_GAIN), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (*self.stack, 1, first), jnp.float32)
        of_query, of_key, of_difference, of_product = jnp.split(kernel.astype(self.dtype), 4, axis=-2)
        own = stacked_matmul(query, of_query + of_difference) + bias.astype(self.dtype)
        of_keys = stacked_matmul(positions(keys), of_key - of_difference)
        of_keys += stacked_matmul(positions(query[..., None, :] * keys), of_product)
        hidden = nn.relu(of_keys.reshape(*keys.shape[:-1], first) + own[..., None, :])
        scores = PositionScores(self.stack, self.features[1:], self.dtype, name="unit")(hidden)
        weights = live_softmax(scores, live) if self.softmax else jnp.where(live, scores, 0.0)
        return weighted_sum(weights, keys)


class DIN(nn.Module):
    """Columns of tables, where sequences of items are pooled for the candidate; see `ActivationUnit`.

    A sequence that reads the table of one of the candidate's columns has an activation unit of its own, with
    that column as query. Everything else is as in `Encoder`.

    Attributes:
      tables: the embeddings, with `sequences`.
      targets: for each sequence the candidate's column; −1 for a sequence that is averaged.
      features: units of each hidden layer of an activation unit.
      softmax: whether its weights are normalised.
    """

    tables: Encoder
    targets: tuple[int, ...]
    features: tuple[int, ...] = (36,)
    softmax: bool = False

    def look_up(self, ids: Array) -> Array:
        """Returns the embeddings of a batch, `[B, C, E]` or `[T, B, C, E]`; see `Encoder.look_up`."""
        return self.tables.look_up(ids)

    @nn.compact
    def __call__(self, ids: Array, numeric: Array, *, rows: Array | None = None) -> Array:
        """Encodes a batch.

        Args:
          ids: `[B, C] int32`.
          numeric: `[B, F]`.
          rows: the embeddings, to skip the look-up.

        Returns:
          `[B, D]`, or `[T, B, D]` with private tables; D as in `Encoder`.
        """
        dtype, stack = self.tables.dtype, self.tables.table_stack
        rows = (self.look_up(ids) if rows is None else rows).astype(dtype)
        pools = {}
        for number, target in enumerate(self.targets):
            if target >= 0:
                unit = ActivationUnit(stack, self.features, self.softmax, dtype, name=f"unit{number}")
                pools[number] = lambda keys, live, unit=unit, q=rows[..., target, :]: unit(q, keys, live)
        return beside(pool_sequences(ids, rows, self.tables.sequences, pools), numeric)
