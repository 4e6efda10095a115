"""One training step as a pure function: losses, Jacobian, weighting, optimiser."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl.jacobian import TaskTap, task_jacobian
from mtl.models import MultiTaskModel, shared_tap, task_cut
from mtl.ownership import Ownership, task_ownership
from mtl.tasks import Task, task_losses
from mtl.types import Array, Batch, PyTree
from mtl.weightings import observe, weighting_state


class TrainState(NamedTuple):
    """What a step changes; groups stack it over their runs.

    Attributes:
      params: the model's parameters.
      opt_state: state of the chain, the weighting's included.
    """

    params: PyTree
    opt_state: optax.OptState


class StepMetrics(NamedTuple):
    """What a step reports.

    Attributes:
      losses: unweighted task losses `[T]` before the step.
      weights: task weights applied `[T]`.
      residual: optimality gap of the weighting's solver `[]`; 0 without one.
      finite: whether losses and weights are all finite `[]` bool.
    """

    losses: Array
    weights: Array
    residual: Array
    finite: Array


def make_loss_fn(model: MultiTaskModel, tasks: Sequence[Task]) -> Callable[..., Any]:
    """Makes the loss function of a model.

    Args:
      model: a `MultiTaskModel`.
      tasks: T tasks.

    Returns:
      `loss_fn(params, batch, key, train=True, perturbations=None) -> losses [T]`, in training with what the
      model's parts sow in `penalties`; with a `TaskTap` as perturbations it returns
      `(losses, mixing [T, B, E])`.
    """

    def loss_fn(params, batch, key, train=True, perturbations=None):
        variables = {"params": params}
        collections = ["penalties"] if train else []
        tapped = isinstance(perturbations, TaskTap)
        if tapped:
            variables["task_perturbations"] = perturbations.zeros
            collections.append("mixing")
        elif perturbations is not None:
            variables["perturbations"] = perturbations
        rngs = {"dropout": key}
        outputs, sown = model.apply(variables, batch, train=train, rngs=rngs, mutable=collections)
        losses = task_losses(tasks, outputs, batch["labels"], batch.get("mask"))
        losses = sum(jax.tree.leaves(sown.get("penalties", {})), start=losses)
        if not tapped:
            return losses
        (mixing,) = jax.tree.leaves(sown["mixing"])
        return losses, mixing

    return loss_fn


def make_step(
    model: MultiTaskModel,
    tasks: Sequence[Task],
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    tap: bool = False,
    cut: bool = False,
    losses_after: bool = False,
) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """Returns the step `(state, batch, key, *others) -> (state, metrics)`, pure and vmappable.

    Args:
      model: a `MultiTaskModel`.
      tasks: T tasks.
      optimizer: a chain that begins with a weighting.
      tap: offer the weighting gradients at the model's shared representation.
      cut: take the T backward passes from the tasks' own features where the model has such, see `task_cut`;
        faster for weightings that read the gradients of single tasks.
      losses_after: show the weighting the losses of the batch after the step as well.

    Returns:
      The step. `others` are further batches for weightings that read several; their Jacobians are passed
      on as `jacobians`.
    """
    loss_fn = make_loss_fn(model, tasks)

    def step(state: TrainState, batch: Batch, key: Array, *others: Batch) -> tuple[TrainState, StepMetrics]:
        place = shared_tap(model, state.params, batch) if tap else None
        if cut and not tap:
            place = task_cut(model, state.params, batch)
        losses, jac = task_jacobian(loss_fn, state.params, batch, key, tap=place)
        more: dict[str, Any] = {}
        if others:
            keys = (jax.random.fold_in(key, i) for i in range(len(others)))
            more["jacobians"] = tuple(
                task_jacobian(loss_fn, state.params, other, k, tap=place)[1]
                for other, k in zip(others, keys, strict=True)
            )
        updates, opt_state = optimizer.update(jac, state.opt_state, state.params, losses=losses, **more)
        params: Any = optax.apply_updates(state.params, updates)
        if losses_after:
            opt_state = observe(opt_state, loss_fn(params, batch, key))
        weighting = weighting_state(opt_state)
        metrics = StepMetrics(
            losses=losses,
            weights=weighting.weights,
            residual=getattr(weighting, "residual", jnp.zeros(())),
            finite=jnp.all(jnp.isfinite(losses)) & jnp.all(jnp.isfinite(weighting.weights)),
        )
        return TrainState(params, opt_state), metrics

    return step


def find_ownership(model: MultiTaskModel, tasks: Sequence[Task], params: PyTree, batch: Batch) -> Ownership:
    """Finds which parameters the tasks share, from a few rows; see `task_ownership`.

    Args:
      model: a `MultiTaskModel`.
      tasks: T tasks.
      params: parameters of one run.
      batch: a few rows, with at least one in every task's sample space.

    Returns:
      The ownership of every leaf.
    """
    loss_fn = make_loss_fn(model, tasks)
    return task_ownership(lambda p: loss_fn(p, batch, jax.random.key(0), train=False), params)
