"""The one builder that fixes the order: weighting, clip, optimiser."""

import optax

from mtl.train.settings import TrainSettings


def chain(
    weighting: optax.GradientTransformationExtraArgs, settings: TrainSettings, num_steps: int
) -> optax.GradientTransformationExtraArgs:
    """Chains a weighting, clipping by the global norm, and the optimiser, in this order.

    Args:
      weighting: turns T gradients into one update, so it stands first.
      settings: names the optimiser and its numbers.
      num_steps: steps of the whole run, for the schedule.

    Returns:
      A gradient transformation that takes a task Jacobian.
    """
    rate: optax.ScalarOrSchedule = settings.learning_rate
    if settings.schedule == "cosine":
        rate = optax.cosine_decay_schedule(settings.learning_rate, num_steps)
    optimizers = {
        "adam": lambda: optax.adam(rate),
        "adamw": lambda: optax.adamw(rate, weight_decay=settings.weight_decay),
        "sgd": lambda: optax.sgd(rate),
        "momentum": lambda: optax.sgd(rate, momentum=0.9),
    }
    clip = [optax.clip_by_global_norm(settings.clip_norm)] if settings.clip_norm else []
    return optax.with_extra_args_support(optax.chain(weighting, *clip, optimizers[settings.optimizer]()))
