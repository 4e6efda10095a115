"""Weights of the tasks for every user: PAPERec.

A weighting in `mtl.weightings` has one weight per task `[T]`, for a whole batch. Here every row has its own
`[B, T]`, those of its user, chosen by an agent that learns beside the model. That does not fit the contract
of a weighting, so it is used in a training loop of one's own:

    agent = paperec(num_tasks=2, state_size=16)
    step = paperec_step(row_losses, features, optax.adam(1e-3), agent)
    state = PAPERecTrainState(params, optax.adam(1e-3).init(params), agent.init(jax.random.key(0)))
    state, metrics = step(state, batch, users, key)        # under jit or in a scan
"""

from mtl.personalised.paperec import (
    Agent,
    AgentState,
    Replay,
    Transitions,
    critic_targets,
    paperec,
    polyak,
    push,
    rewards,
    sample,
)
from mtl.personalised.rows import user_gramians, user_means
from mtl.personalised.step import PAPERecMetrics, PAPERecTrainState, paperec_step

__all__ = [
    "Agent",
    "AgentState",
    "PAPERecMetrics",
    "PAPERecTrainState",
    "Replay",
    "Transitions",
    "critic_targets",
    "paperec",
    "paperec_step",
    "polyak",
    "push",
    "rewards",
    "sample",
    "user_gramians",
    "user_means",
]
