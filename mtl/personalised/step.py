"""A training step in which every user's losses have weights of their own."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.jacobian import Shared
from mtl.personalised.paperec import Agent, AgentState, Transitions, rewards
from mtl.personalised.rows import RowLosses, user_gramians, user_means
from mtl.types import Array, Batch, PyTree


class PAPERecTrainState(NamedTuple):
    """What a step changes.

    Attributes:
      params: the model's parameters.
      opt_state: state of the model's optimiser.
      agent: state of the agent.
    """

    params: PyTree
    opt_state: optax.OptState
    agent: AgentState


class PAPERecMetrics(NamedTuple):
    """What a step reports.

    Attributes:
      losses: mean unweighted task losses `[T]` before the step.
      weights: weights of every row's user `[B, T]`, with the noise of exploration.
      reward: mean reward of the batch `[]`.
    """

    losses: Array
    weights: Array
    reward: Array


def paperec_step(
    row_losses: RowLosses,
    features: Callable[[PyTree, Batch], tuple[Array, Array]],
    optimizer: optax.GradientTransformation,
    agent: Agent,
    *,
    shared: Shared = None,
    zeros: PyTree | None = None,
    normalise: bool = True,
) -> Callable[..., tuple[PAPERecTrainState, PAPERecMetrics]]:
    """Makes the step `(state, batch, users [B], key) -> (state, metrics)`, pure and scannable.

        minimise over the model  (1/B) Σ_b Σ_t w_t(u_b) ℓ_t(b),   w(u) = the agent's action in u's state

    A user's state is its features and the mean of its rows in the batch, the current list, both without
    gradient; the next state is the same under the model after the step. Rows weigh heads as well. Cost:
    beside the plain step the gradients of every row, see `user_gramians`.

    Args:
      row_losses: the losses of every row, `(params, batch) -> [B, T]`; see `user_gramians`.
      features: `(params, batch) -> (users' features [B, D], rows' features [B, R])`; S = D + R.
      optimizer: of the model, an ordinary one.
      agent: from `paperec`.
      shared: the leaves on which rewards look.
      zeros: take the gradients of rewards at the shared representation instead.
      normalise: see `rewards`.

    Returns:
      The step.
    """

    def states_of(params: PyTree, batch: Batch, users: Array) -> Array:
        user, rows = features(params, batch)
        return jax.lax.stop_gradient(jnp.concatenate([user, user_means(rows, users)], axis=-1))

    def step(
        state: PAPERecTrainState, batch: Batch, users: Array, key: Array
    ) -> tuple[PAPERecTrainState, PAPERecMetrics]:
        explore, replay = jax.random.split(key)
        states = states_of(state.params, batch, users)
        # One draw of noise for all rows of a user: those of its first row.
        first = jnp.argmax(users[:, None] == users[None, :], axis=1)
        weights = agent.act(state.agent, states, explore)[first]
        gramians = user_gramians(row_losses, state.params, batch, users, shared=shared, zeros=zeros)
        reward = rewards(weights, gramians, normalise=normalise)

        def loss_fn(params):
            more = () if zeros is None else (zeros,)
            losses = row_losses(params, batch, *more)
            return jnp.mean(jnp.sum(weights * losses, axis=1)), jnp.mean(losses, axis=0)

        gradient, losses = jax.grad(loss_fn, has_aux=True)(state.params)
        change, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params: Any = optax.apply_updates(state.params, change)
        seen = Transitions(states, weights, reward, states_of(params, batch, users))
        learned = agent.update(state.agent, seen, replay)
        metrics = PAPERecMetrics(losses, weights, jnp.mean(reward))
        return PAPERecTrainState(params, opt_state, learned), metrics

    return step
