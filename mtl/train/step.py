"""One training step as a pure function: losses, Jacobian, weighting, optimiser."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl.jacobian import TaskTap, task_jacobian
from mtl.models import MultiTaskModel, shared_tap, task_cut
from mtl.ownership import Ownership, task_ownership
from mtl.tasks import Task, conditional_losses, task_losses
from mtl.types import Array, Batch, PyTree
from mtl.weightings import observe, weighting_state


class TrainState(NamedTuple):
    """What a step changes; groups stack it over their runs.

    Attributes:
      params: the model's parameters.
      opt_state: state of the chain, the weighting's included.
      stats: running statistics, as Linen's collections; empty for a model without.
    """

    params: PyTree
    opt_state: optax.OptState
    stats: dict[str, PyTree]

    @property
    def variables(self) -> dict[str, PyTree]:
        """What the model is applied with."""
        return {"params": self.params, **self.stats}


class StepMetrics(NamedTuple):
    """What a step reports.

    Attributes:
      losses: unweighted task losses `[T]` before the step.
      weights: task weights applied `[T]`.
      residual: optimality gap of the weighting's solver `[]`; 0 without one.
      finite: whether losses and weights are all finite `[]` bool.
      rows: distinct rows of the table that a sparse step reads `[]` int32; 0 of a dense one.
    """

    losses: Array
    weights: Array
    residual: Array
    finite: Array
    rows: Array | int = 0


def make_loss_fn(
    model: MultiTaskModel, tasks: Sequence[Task], stats: Mapping[str, PyTree] | None = None
) -> Callable[..., Any]:
    """Makes the loss function of a model.

    Args:
      model: a `MultiTaskModel`.
      tasks: T tasks.
      stats: the model's running statistics, which training renews; None for a model without.

    Returns:
      `loss_fn(params, batch, key, train=True, perturbations=None) -> losses [T]`, in training with what the
      model's parts sow in `penalties`. With a `TaskTap` as perturbations it returns
      `(losses, mixing [T, B, E])`, and with statistics these come last, as in `(losses, stats)`.
    """
    running = dict(stats or {})

    def loss_fn(params, batch, key, train=True, perturbations=None):
        variables = {"params": params, **running}
        collections = ["penalties", "conditionals", *running] if train else []
        tapped = isinstance(perturbations, TaskTap)
        if tapped:
            variables["task_perturbations"] = perturbations.zeros
            collections.append("mixing")
        elif perturbations is not None:
            variables["perturbations"] = perturbations
        rngs = {"dropout": key}
        outputs, sown = model.apply(variables, batch, train=train, rngs=rngs, mutable=collections)
        labels, mask, weights = batch["labels"], batch.get("mask"), batch.get("weights")
        losses = task_losses(tasks, outputs, labels, mask, weights)
        for logits in jax.tree.leaves(sown.get("conditionals", {})):
            also = conditional_losses(tasks, logits, labels, mask, weights)
            only = model.transfer.supervise == "conditional"
            losses = jnp.where(_requiring(tasks), also, losses) if only else losses + also
        losses = sum(jax.tree.leaves(sown.get("penalties", {})), start=losses)
        results = [losses]
        if tapped:
            results += jax.tree.leaves(sown["mixing"])
        if running:
            results.append({name: sown.get(name, tree) for name, tree in running.items()})
        return results[0] if len(results) == 1 else tuple(results)

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

    def step(state: TrainState, batch: Batch, key: Array, *others: Batch) -> tuple[TrainState, StepMetrics]:
        loss_fn = make_loss_fn(model, tasks, state.stats)
        has_aux = bool(state.stats)
        place = shared_tap(model, state.params, batch, state.stats) if tap else None
        if cut and not tap and not has_aux:
            place = task_cut(model, state.params, batch)
        losses, jac, *stats = task_jacobian(loss_fn, state.params, batch, key, has_aux=has_aux, tap=place)
        more: dict[str, Any] = {}
        if others:
            keys = (jax.random.fold_in(key, i) for i in range(len(others)))
            more["jacobians"] = tuple(
                task_jacobian(loss_fn, state.params, other, k, has_aux=has_aux, tap=place)[1]
                for other, k in zip(others, keys, strict=True)
            )
        updates, opt_state = optimizer.update(jac, state.opt_state, state.params, losses=losses, **more)
        params: Any = optax.apply_updates(state.params, updates)
        if losses_after:
            after = loss_fn(params, batch, key)
            opt_state = observe(opt_state, after[0] if has_aux else after)
        weighting = weighting_state(opt_state)
        metrics = StepMetrics(
            losses=losses,
            weights=weighting.weights,
            residual=getattr(weighting, "residual", jnp.zeros(())),
            finite=jnp.all(jnp.isfinite(losses)) & jnp.all(jnp.isfinite(weighting.weights)),
        )
        return TrainState(params, opt_state, stats[0] if stats else state.stats), metrics

    return step


def find_ownership(
    model: MultiTaskModel,
    tasks: Sequence[Task],
    params: PyTree,
    batch: Batch,
    stats: Mapping[str, PyTree] | None = None,
) -> Ownership:
    """Finds which parameters the tasks share, from a few rows; see `task_ownership`.

    Args:
      model: a `MultiTaskModel`.
      tasks: T tasks.
      params: parameters of one run.
      batch: a few rows, with at least one in every task's sample space.
      stats: the model's running statistics, where it has any.

    Returns:
      The ownership of every leaf.
    """
    loss_fn = make_loss_fn(model, tasks, stats)

    def losses(params):
        found = loss_fn(params, batch, jax.random.key(0), train=False)
        return found[0] if stats else found

    return task_ownership(losses, params)


def _requiring(tasks: Sequence[Task]) -> np.ndarray:
    """Which tasks require another `[T]` bool."""
    return np.array([bool(task.requires) for task in tasks])
