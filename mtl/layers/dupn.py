"""DUPN's user representation: a property-gated LSTM over behaviours, and attention."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers.attention import PositionScores, live_softmax, positions, weighted_sum
from mtl.layers.embedding import Encoder, beside, columns_at, joined
from mtl.layers.stacked_dense import StackedDense, stacked_init
from mtl.types import Array


class PropertyGatedLSTM(nn.Module):
    """An LSTM whose gates see the properties p of a behaviour, and whose memory sees its item e alone.

        i_l = σ(W_i [e_l ; p_l] + U_i h_{l−1} + v_i ⊙ c_{l−1} + b_i)
        f_l = σ(W_f [e_l ; p_l] + U_f h_{l−1} + v_f ⊙ c_{l−1} + b_f)
        c_l = f_l ⊙ c_{l−1} + i_l ⊙ tanh(W_c e_l + U_c h_{l−1} + b_c)
        o_l = σ(W_o [e_l ; p_l] + U_o h_{l−1} + v_o ⊙ c_l + b_o),   h_l = o_l ⊙ tanh(c_l)

    from h = c = 0. Properties, such as the kind and the time of a behaviour, thus decide how much of an item
    is kept, not what. A step of padding leaves h and c as they are.

    Reference: Ni et al., Perceive Your Users in Depth, KDD 2018, https://arxiv.org/abs/1805.10727, the
      property gated LSTM.

    Departures: the peepholes v are vectors, as in Graves, Generating Sequences With Recurrent Neural
    Networks, 2013, https://arxiv.org/abs/1308.0850.

    Attributes:
      units: length of h.
      stack: sizes of the stack axes, `()` or `(T,)`.
      dtype: dtype of the computation; parameters are float32.
    """

    units: int
    stack: tuple[int, ...] = ()
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, items: Array, properties: Array, live: Array) -> Array:
        """Runs over a sequence, the earliest behaviour first.

        Args:
          items: e `[*stack, B, L, E]`.
          properties: p `[*stack, B, L, P]`; P may be 0.
          live: `[B, L]` bool, false for padding.

        Returns:
          h `[*stack, B, L, units]`.
        """
        # The time axis leads before the projections, which are wider than what they read.
        items, properties = (jnp.swapaxes(x, -3, -2) for x in (items, properties))
        gates = self._projected(3 * self.units, "gates", items, properties)
        content = self._projected(self.units, "memory", items)
        shape = (*self.stack, self.units, 4 * self.units)
        recurrent = self.param("recurrent", stacked_init(len(self.stack)), shape, jnp.float32)
        recurrent = recurrent.astype(self.dtype)
        shape = (*self.stack, 3, 1, self.units)
        peepholes = self.param("peepholes", nn.initializers.normal(0.1), shape, jnp.float32)
        v_i, v_f, v_o = jnp.moveaxis(peepholes.astype(self.dtype), -3, 0)

        def step(state, now):
            h, c = state
            *inputs, live = now
            from_state = jnp.split(h @ recurrent, 4, axis=-1)
            i, f, o, new = (x + y for x, y in zip(inputs, from_state, strict=True))
            memory = jax.nn.sigmoid(f + v_f * c) * c + jax.nn.sigmoid(i + v_i * c) * nn.tanh(new)
            hidden = jax.nn.sigmoid(o + v_o * memory) * nn.tanh(memory)
            state = (jnp.where(live, hidden, h), jnp.where(live, memory, c))
            return state, state[0]

        inputs = [jnp.moveaxis(x, -3, 0) for x in (*jnp.split(gates, 3, axis=-1), content)]
        start = jnp.zeros_like(inputs[0][0])
        steps = *inputs, jnp.moveaxis(live, -1, 0)[..., None]
        _, hidden = jax.lax.scan(step, (start, start), steps)
        return jnp.moveaxis(hidden, 0, -2)

    def _projected(self, features: int, name: str, *inputs: Array) -> Array:
        y = StackedDense(self.stack, features, dtype=self.dtype, name=name)(*map(positions, inputs))
        return y.reshape(*inputs[0].shape[:-1], features)


class DUPN(nn.Module):
    """One vector of a user's behaviours for all tasks, beside the other columns.

        u = Σ_l a_l h_l,   a = softmax_l(wᵀ MLP([h_l ; p_l ; q]))   over the positions that are not padding

    h are the states of `PropertyGatedLSTM`, q the embeddings of all columns outside sequences: candidate,
    user and context, such as the query. The features are [u ; q ; numbers], with u = 0 for an empty history.

    Reference: Ni et al., Perceive Your Users in Depth: Learning Universal User Representations from Multiple
      E-commerce Tasks, KDD 2018, https://arxiv.org/abs/1805.10727.

    Departures: the paper's towers also read features of single tasks; here all tasks get all columns.

    Attributes:
      tables: the embeddings.
      items: positions of the columns of each sequence of items, the most recent behaviour first.
      properties: likewise of each sequence of properties.
      others: positions of the columns outside sequences.
      units: length of u.
      features: units of each hidden layer of the attention.
    """

    tables: Encoder
    items: tuple[tuple[int, ...], ...]
    properties: tuple[tuple[int, ...], ...]
    others: tuple[int, ...]
    units: int = 16
    features: tuple[int, ...] = (16,)

    def look_up(self, ids: Array) -> Array:
        """Returns the embeddings of a batch, `[B, C, E]` or `[T, B, C, E]`; see `Encoder.look_up`."""
        return self.tables.look_up(ids)

    @nn.compact
    def __call__(self, ids: Array, numeric: Array, *, rows: Array | None = None) -> Array:
        """Encodes a batch.

        Args:
          ids: `[B, C] int32`; 0 in the first sequence of items is padding, of all sequences.
          numeric: `[B, F]`.
          rows: the embeddings, to skip the look-up.

        Returns:
          `[B, D]`, or `[T, B, D]` with private tables; D = units + C'·embedding_dim + F for C' columns
          outside sequences.
        """
        dtype, stack = self.tables.dtype, self.tables.table_stack
        rows = (self.look_up(ids) if rows is None else rows).astype(dtype)
        length = len(self.items[0])
        items, properties = (
            joined(rows, found, length)[..., ::-1, :] for found in (self.items, self.properties)
        )
        live = ids[:, list(self.items[0])][:, ::-1] > 0
        hidden = PropertyGatedLSTM(self.units, stack, dtype, name="lstm")(items, properties, live)
        others = columns_at(rows, self.others)
        query = others.reshape(*others.shape[:-2], 1, -1)
        scores = PositionScores(stack, self.features, dtype, name="attention")(hidden, properties, query)
        user = weighted_sum(live_softmax(scores, live), hidden)
        return jnp.concatenate([user, beside(others, numeric)], axis=-1)
