"""GO4Align: groups of tasks with similar progress share a weight.

Reference:
  J. Shen et al., "GO4Align: Group Optimization for Multi-Task Alignment", NeurIPS 2024, Algorithm 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.errors import InputError
from mtl.jacobian import Shared, combine
from mtl.types import Array
from mtl.weightings.contract import check_losses, check_num_tasks, known_false, positive, sized_jacobian


class GO4AlignState(NamedTuple):
    """State of `go4align`.

    Attributes:
      weights: the weights just applied `[T]` float32.
      log_risk: log π, the history of the losses `[T]`.
    """

    weights: Array
    log_risk: Array


def go4align(
    num_tasks: int, *, num_groups: int = 2, step_size: float = 1e-4, shared: Shared = None
) -> optax.GradientTransformationExtraArgs:
    """Brings the losses to one scale, groups the tasks, and gives each group the mean of its members.

        π ← normalise(π e^(−ηL)),   q_t = π_t ΣL / L_t,   a_t = mean of q over the group of t

    The groups are those of 1-D k-means on q. A task without rows (loss exactly 0) gets weight 0 and keeps
    its π. Cost: one backward pass.

    Args:
      num_tasks: T.
      num_groups: K ≥ 1; the paper tunes it per data set. K ≥ T gives every task its own q.
      step_size: η.
      shared: the leaves on which the weights act; None, as in the paper, weighs the whole loss.

    Returns:
      A gradient transformation; see `mtl.weightings`. `update` needs `losses=`.

    Raises:
      InputError: an argument is out of range.

    Departures from the paper: its code runs Lloyd's iteration from random points at every step; in one
    dimension the best partition is found exactly, so the method is deterministic here.
    """
    check_num_tasks(num_tasks)
    if isinstance(num_groups, bool) or not isinstance(num_groups, int) or num_groups < 1:
        raise InputError(f"num_groups is {num_groups!r}, expected an integer of at least 1")
    if known_false(step_size >= 0):
        raise InputError(f"step_size is {step_size!r}, expected a number ≥ 0")

    def init_fn(params):
        del params
        return GO4AlignState(*(jnp.zeros(num_tasks, jnp.float32) for _ in range(2)))

    def update_fn(updates, state, params=None, *, losses, **extra):
        del params, extra
        losses, live = positive(check_losses(losses, num_tasks).astype(jnp.float32))
        risk = state.log_risk - step_size * jnp.where(live, losses, 0.0)
        risk = risk - jax.nn.logsumexp(risk)
        total = jnp.sum(jnp.where(live, losses, 0.0))
        # A task without rows takes the place of another one's score, so that it founds no group.
        score = jnp.exp(risk) * total / losses
        score = jnp.where(live, score, jnp.max(jnp.where(live, score, 0.0)))
        w = jnp.where(live, group_means(score, min(num_groups, num_tasks), live), 0.0)
        w = jnp.where(jnp.isfinite(total), w, jnp.nan)
        return combine(sized_jacobian(updates, num_tasks), w, shared), GO4AlignState(w, risk)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def group_means(values: Array, num_groups: int, counted: Array | None = None) -> Array:
    """Replaces every value by the mean of its group under the best partition into at most K groups.

    The partition with the least sum of squared distances is contiguous in the sorted values; dynamic
    programming over the cuts finds it.

    Args:
      values: `[T]`.
      num_groups: K, at most T.
      counted: which values count `[T]` bool; None for all.

    Returns:
      Group means `[T]`.
    """
    size = values.shape[0]
    counted = jnp.ones(size, bool) if counted is None else counted
    order = jnp.argsort(values)
    x, n = values[order], counted[order].astype(values.dtype)
    top = jnp.max(jnp.abs(x))
    unit = jnp.where(top > 0, top, 1.0)
    y = x / unit
    index = jnp.arange(size)
    inside = (index[None, None, :] >= index[:, None, None]) & (index[None, None, :] <= index[None, :, None])
    mass = jnp.where(inside, n, 0.0)  # [first, last, member]
    count = jnp.sum(mass, axis=-1)
    mean = jnp.sum(mass * y, axis=-1) / jnp.maximum(count, 1.0)
    cost = jnp.sum(mass * (y - mean[..., None]) ** 2, axis=-1)
    cost = jnp.where(index[:, None] <= index[None, :], cost, jnp.inf)
    best, cuts = cost[0], []
    for _ in range(num_groups - 1):
        # best[j]: least cost of the values up to j; the last group begins at i and costs cost[i, j]
        earlier = jnp.concatenate([jnp.zeros(1, best.dtype), best[:-1]])
        total = earlier[:, None] + cost
        cuts.append(jnp.argmin(total, axis=0))
        best = jnp.min(total, axis=0)
    group_first = jnp.zeros(size, jnp.int32)
    group_last = jnp.full(size, size - 1)
    last = jnp.asarray(size - 1)
    for cut in reversed(cuts):
        first = jnp.where(last >= 0, cut[jnp.maximum(last, 0)], 0)
        here = (index >= first) & (index <= last)
        group_first = jnp.where(here, first, group_first)
        group_last = jnp.where(here, last, group_last)
        last = first - 1
    here = index <= last
    group_first = jnp.where(here, 0, group_first)
    group_last = jnp.where(here, last, group_last)
    means = mean[group_first, group_last] * unit
    return jnp.zeros_like(values).at[order].set(means)
