"""The one builder that fixes the order: weighting, clip, optimiser."""

from typing import Any, NamedTuple

import jax
import optax

from mtl.embedding import scale_by_rowwise_rss
from mtl.jacobian import Shared
from mtl.train.settings import TrainSettings
from mtl.train.transfer import held
from mtl.types import PyTree
from mtl.weightings import per_loss, per_owner


class Scope(NamedTuple):
    """What `train.optimizers` other than `one` must know of tasks and parameters.

    Attributes:
      num_tasks: T.
      shared: the leaves on which the weighting acts, as it was given to the weighting.
      slices: the owners of every leaf, `slices` of `task_ownership`; for `per_owner` only.
      tap: whether the weighting reads a tap.
    """

    num_tasks: int
    shared: Shared = None
    slices: PyTree = None
    tap: bool = False


def chain(
    weighting: optax.GradientTransformationExtraArgs,
    settings: TrainSettings,
    num_steps: int,
    scope: Scope | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Chains a weighting, clipping by the global norm, and the optimiser, in this order.

    Args:
      weighting: turns T gradients into one update, so it stands first.
      settings: names the optimiser and its numbers.
      num_steps: steps of the whole run, for the schedule.
      scope: needed where `settings.optimizers` is not `one`.

    Returns:
      A gradient transformation that takes a task Jacobian. What `settings.freeze` names does not move.
    """
    rate: optax.ScalarOrSchedule = settings.learning_rate
    if settings.schedule == "cosine":
        rate = optax.cosine_decay_schedule(settings.learning_rate, num_steps)
    moments = {
        "adam": optax.scale_by_adam,
        "adamw": optax.scale_by_adam,
        "sgd": optax.identity,
        "momentum": lambda: optax.trace(decay=0.9),
        "adagrad": optax.scale_by_rss,
        "rowwise_adagrad": lambda: scale_by_rowwise_rss(rows=_is_table),
    }[settings.optimizer]()
    decays = settings.optimizer == "adamw"
    decay = [optax.add_decayed_weights(settings.weight_decay)] if decays else []
    clip = [optax.clip_by_global_norm(settings.clip_norm)] if settings.clip_norm else []
    move = optax.scale_by_learning_rate(rate)
    if settings.freeze:
        weighting = held(weighting, settings.freeze)
    if settings.optimizers == "one":
        parts = [weighting, *clip, optax.chain(moments, *decay, move)]
    elif scope is None:
        raise ValueError(f"optimizers={settings.optimizers!r} needs a scope")
    elif settings.optimizers == "per_loss":
        own = optax.chain(*clip, moments)
        first = per_loss(weighting, own, scope.num_tasks, shared=scope.shared, tap=scope.tap)
        parts = [first, *decay, move]
    else:
        first = optax.with_extra_args_support(optax.chain(weighting, *clip))
        parts = [per_owner(first, optax.chain(moments, *decay), scope.slices), move]
    whole = optax.with_extra_args_support(optax.chain(*parts))
    return held(whole, settings.freeze) if settings.freeze else whole


def _is_table(path: tuple[Any, ...]) -> bool:
    """Whether a parameter is the model's table of embeddings."""
    return jax.tree_util.keystr(path[-1:], simple=True) == "tables"
