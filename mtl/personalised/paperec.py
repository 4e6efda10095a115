"""The agent of PAPERec: an actor that gives every user weights of the tasks, learned by DDPG.

References:
  R. Xie, Y. Liu, S. Zhang et al., "Personalized Approximate Pareto-Efficient Recommendation", WWW 2021.
  T. Lillicrap et al., "Continuous control with deep reinforcement learning" (DDPG), ICLR 2016.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.types import Array, PyTree


class Transitions(NamedTuple):
    """What N users went through in a step.

    Attributes:
      states: user and current list `[N, S]`.
      actions: weights of the tasks `[N, T]`, on the simplex.
      rewards: `[N]`.
      next_states: `[N, S]`.
    """

    states: Array
    actions: Array
    rewards: Array
    next_states: Array


class Replay(NamedTuple):
    """The last C transitions.

    Attributes:
      kept: transitions, leaves `[C, …]`.
      added: how many were ever added `[]` int32.
    """

    kept: Transitions
    added: Array


class AgentState(NamedTuple):
    """What the agent has learned.

    Attributes:
      actor: parameters of the actor.
      critic: parameters of the critic.
      target_actor: their running means.
      target_critic: likewise.
      actor_opt: state of the actor's optimiser.
      critic_opt: state of the critic's.
      replay: what it learns from.
    """

    actor: PyTree
    critic: PyTree
    target_actor: PyTree
    target_critic: PyTree
    actor_opt: optax.OptState
    critic_opt: optax.OptState
    replay: Replay


class Agent(NamedTuple):
    """The agent as pure functions.

    Attributes:
      init: `key -> AgentState`.
      act: `(state, states [N, S], key=None) -> weights [N, T]` on the simplex; with a key it explores.
      update: `(state, Transitions, key) -> AgentState`, after adding the transitions to the replay one step
        of critic, actor and target networks on a sample of it.
    """

    init: Callable[..., AgentState]
    act: Callable[..., Array]
    update: Callable[..., AgentState]


class Actor(nn.Module):
    """States `[N, S]` → logits of the weights `[N, T]`, equal at the start.

    Attributes:
      num_tasks: T.
      hidden: units of its ReLU layers.
    """

    num_tasks: int
    hidden: tuple[int, ...]

    @nn.compact
    def __call__(self, states: Array) -> Array:
        """Computes the logits."""
        for units in self.hidden:
            states = nn.relu(nn.Dense(units)(states))
        return nn.Dense(self.num_tasks, kernel_init=nn.initializers.zeros)(states)


class Critic(nn.Module):
    """States `[N, S]` and weights `[N, T]` → value `[N]`.

    Attributes:
      hidden: units of its ReLU layers.
    """

    hidden: tuple[int, ...]

    @nn.compact
    def __call__(self, states: Array, actions: Array) -> Array:
        """Computes the values."""
        x = jnp.concatenate([states, actions], axis=-1)
        for units in self.hidden:
            x = nn.relu(nn.Dense(units)(x))
        return nn.Dense(1)(x)[:, 0]


def rewards(weights: Array, gramians: Array, *, normalise: bool = True) -> Array:
    """How near every user's update is to standing still: r_u = −‖Σ_t w_ut ∇L_ut‖² = −w_uᵀ G_u w_u.

    Where that is 0 the weights show the user's point to be Pareto-stationary; maximised over the simplex it
    is the problem of MGDA for every user.

    Args:
      weights: `[N, T]` on the simplex.
      gramians: `[N, T, T]`, see `user_gramians`.
      normalise: divide by the mean square of the gradients of this batch, so that rewards stay of one size
        while the losses fall. The paper does not.

    Returns:
      `[N]`, not above 0.
    """
    square = jnp.einsum("ni,nij,nj->n", weights, gramians, weights, precision=jax.lax.Precision.HIGHEST)
    if normalise:
        size = jnp.mean(jnp.trace(gramians, axis1=1, axis2=2)) / weights.shape[1]
        square = square / jnp.where(size > 0, size, 1.0)
    return -square


def critic_targets(rewards: Array, next_values: Array, discount: float) -> Array:
    """What the critic should say: y = r + γ Q'(s', μ'(s')), the target networks' value of the next state."""
    return rewards + discount * next_values


def polyak(target: PyTree, online: PyTree, rate: float) -> PyTree:
    """Moves target networks: θ' ← (1 − τ) θ' + τ θ."""
    return jax.tree.map(lambda old, new: (1.0 - rate) * old + rate * new, target, online)


def push(replay: Replay, new: Transitions) -> Replay:
    """Adds transitions in place of the oldest.

    Raises:
      InputError: they are more than the replay holds.
    """
    capacity, count = len(replay.kept.rewards), len(new.rewards)
    if count > capacity:
        raise InputError(f"the replay holds {capacity} transitions, but {count} came at once; raise capacity")
    index = (replay.added + jnp.arange(count)) % capacity
    kept = jax.tree.map(lambda old, x: old.at[index].set(x.astype(old.dtype)), replay.kept, new)
    return Replay(kept, replay.added + count)


def sample(replay: Replay, key: Array, size: int) -> Transitions:
    """Draws transitions with replacement, uniformly from those that are there."""
    there = jnp.minimum(replay.added, len(replay.kept.rewards))
    index = jax.random.randint(key, (size,), 0, jnp.maximum(there, 1))
    return jax.tree.map(lambda x: x[index], replay.kept)


def paperec(
    num_tasks: int,
    state_size: int,
    *,
    hidden: Sequence[int] = (32,),
    actor_rate: float = 1e-3,
    critic_rate: float = 1e-2,
    discount: float = 0.9,
    target_rate: float = 0.01,
    noise: float = 0.3,
    capacity: int = 10_000,
    batch_size: int = 256,
) -> Agent:
    """Makes the agent that weighs the tasks for every user.

    State: the user and the current list; action: w = softmax(actor(s)); reward: `rewards`. The critic learns
    (Q(s, w) − y)² with y of `critic_targets`, the actor ascends Q(s, μ(s)).

    Args:
      num_tasks: T.
      state_size: S, length of a state.
      hidden: units of the ReLU layers of actor and critic.
      actor_rate: learning rate of the actor's Adam.
      critic_rate: of the critic's.
      discount: γ in [0, 1); with 0 every list stands by itself.
      target_rate: τ in (0, 1] of the target networks.
      noise: standard deviation of the normal noise that exploration adds to the logits, so that explored
        weights stay on the simplex.
      capacity: C, transitions in the replay.
      batch_size: transitions per update.

    Returns:
      The agent.

    Raises:
      InputError: an argument is out of range.

    Departures from the paper: networks, noise and rates are not taken from it.
    """
    for name, count in (
        ("num_tasks", num_tasks),
        ("state_size", state_size),
        ("capacity", capacity),
        ("batch_size", batch_size),
    ):
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InputError(f"{name} is {count!r}, expected an integer of at least 1")
    if not 0 <= discount < 1:
        raise InputError(f"discount is {discount!r}, expected a number in [0, 1)")
    if not 0 < target_rate <= 1:
        raise InputError(f"target_rate is {target_rate!r}, expected a number in (0, 1]")
    if not (noise >= 0 and actor_rate > 0 and critic_rate > 0):
        raise InputError("noise must be at least 0, actor_rate and critic_rate above 0")
    actor, critic = Actor(num_tasks, tuple(hidden)), Critic(tuple(hidden))
    actor_optimizer, critic_optimizer = optax.adam(actor_rate), optax.adam(critic_rate)

    def weights(params: PyTree, states: Array) -> Array:
        logits: Any = actor.apply(params, states)
        return jax.nn.softmax(logits)

    def value(params: PyTree, states: Array, actions: Array) -> Any:
        return critic.apply(params, states, actions)

    def init(key: Array) -> AgentState:
        first, second = jax.random.split(key)
        states, actions = jnp.zeros((1, state_size)), jnp.full((1, num_tasks), 1.0 / num_tasks)
        actor_params, critic_params = actor.init(first, states), critic.init(second, states, actions)
        empty = Transitions(
            states=jnp.zeros((capacity, state_size)),
            actions=jnp.zeros((capacity, num_tasks)),
            rewards=jnp.zeros(capacity),
            next_states=jnp.zeros((capacity, state_size)),
        )
        return AgentState(
            actor=actor_params,
            critic=critic_params,
            target_actor=jax.tree.map(jnp.copy, actor_params),
            target_critic=jax.tree.map(jnp.copy, critic_params),
            actor_opt=actor_optimizer.init(actor_params),
            critic_opt=critic_optimizer.init(critic_params),
            replay=Replay(empty, jnp.zeros((), jnp.int32)),
        )

    def act(state: AgentState, states: Array, key: Array | None = None) -> Array:
        logits: Any = actor.apply(state.actor, states)
        if key is not None:
            logits = logits + noise * jax.random.normal(key, logits.shape)
        return jax.nn.softmax(logits)

    def update(state: AgentState, new: Transitions, key: Array) -> AgentState:
        replay = push(state.replay, new)
        seen = sample(replay, key, batch_size)
        following = weights(state.target_actor, seen.next_states)
        values = value(state.target_critic, seen.next_states, following)
        targets = critic_targets(seen.rewards, values, discount)

        def critic_loss(params):
            return jnp.mean((value(params, seen.states, seen.actions) - targets) ** 2)

        change, critic_opt = critic_optimizer.update(
            jax.grad(critic_loss)(state.critic), state.critic_opt, state.critic
        )
        critic_params: Any = optax.apply_updates(state.critic, change)

        def actor_loss(params):
            return -jnp.mean(value(critic_params, seen.states, weights(params, seen.states)))

        change, actor_opt = actor_optimizer.update(
            jax.grad(actor_loss)(state.actor), state.actor_opt, state.actor
        )
        actor_params: Any = optax.apply_updates(state.actor, change)
        return AgentState(
            actor=actor_params,
            critic=critic_params,
            target_actor=polyak(state.target_actor, actor_params, target_rate),
            target_critic=polyak(state.target_critic, critic_params, target_rate),
            actor_opt=actor_opt,
            critic_opt=critic_opt,
            replay=replay,
        )

    return Agent(init, act, update)
