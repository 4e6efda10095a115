"""What the groups of a study compile, each program once."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl import weightings
from mtl.sweep.config import without_label
from mtl.sweep.plan import BASELINE_WEIGHTING, Group, Plan
from mtl.train import (
    Budget,
    GroupData,
    ModelProgram,
    TrainSettings,
    TrainState,
    chain,
    find_ownership,
    group_data,
    model_program,
    train_program,
)
from mtl.types import PyTree


class Compiled(NamedTuple):
    """What a group needs to train.

    Attributes:
      model: compiled functions of its model.
      optimizer: the chain that begins with its weighting.
      train: K compiled steps of all its runs.
    """

    model: ModelProgram
    optimizer: optax.GradientTransformationExtraArgs
    train: Callable[..., Any]


class Programs:
    """Compiles groups, and keeps what they share: device data, functions of a model, training calls."""

    def __init__(self, plan: Plan):
        """Starts with nothing compiled."""
        self.plan = plan
        self._data = functools.lru_cache(maxsize=1)(self._make_data)
        self._model = functools.cache(self._make_model)
        self._shared = functools.cache(self._make_shared)
        self._train = functools.cache(self._make_train)

    def data(self, group: Group) -> GroupData:
        """Returns a group's data on the device; only that of the last group is kept."""
        return self._data(group.data, group.settings.eval_batch_size)

    def compile(self, group: Group) -> Compiled:
        """Returns a group's compiled functions, of which groups with the same program share one."""
        axis = self._axis(group)
        sets = self.plan.data[group.data]
        lead = () if axis is None else (len(sets),)
        columns = tuple((k, (*lead, *v.shape), v.dtype) for k, v in sets[0].splits["train"].items())
        optimizer, train = self._train(
            group.model, group.weighting, group.settings, group.budget, axis, columns, len(group.runs)
        )
        return Compiled(self._model(group.model, axis), optimizer, train)

    def _axis(self, group: Group) -> int | None:
        return None if len(self.plan.data[group.data]) == 1 else 0

    def _make_data(self, index: int, eval_batch_size: int) -> GroupData:
        return group_data([d.splits for d in self.plan.data[index]], eval_batch_size)

    def _make_model(self, index: int, axis: int | None) -> Any:
        return model_program(self.plan.models[index][2], axis)

    def _make_shared(self, index: int) -> PyTree:
        """Which leaves the tasks of a model share, found on a few training rows."""
        model = self.plan.models[index][2]
        batch = _probe_rows(self.plan.data[0][0].splits["train"])
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        shapes = jax.eval_shape(model.init, keys, batch)["params"]
        # Any finite values do: what depends on what is a matter of structure.
        draw = np.random.default_rng(0)
        params = jax.tree.map(lambda x: jnp.asarray(0.1 * draw.normal(size=x.shape), x.dtype), shapes)
        return find_ownership(model, self.plan.tasks, params, batch).shared

    def _make_train(
        self,
        index: int,
        weighting: int | None,
        settings: TrainSettings,
        budget: Budget,
        axis: int | None,
        columns: tuple[tuple[str, tuple[int, ...], np.dtype], ...],
        num_runs: int,
    ) -> tuple[optax.GradientTransformationExtraArgs, Callable[..., Any]]:
        model = self.plan.models[index][2]
        spec = BASELINE_WEIGHTING if weighting is None else self.plan.weightings[weighting][1]
        spec = without_label(spec)
        name, arguments = weightings.parse(spec)
        shared = None if name in weightings.SCALARIZATIONS else self._shared(index)
        kinds = [t.kind for t in self.plan.tasks]
        updates, epoch = (n // budget.batches for n in (budget.steps, budget.steps_per_epoch))
        built = weightings.build(spec, kinds=kinds, shared=shared, steps_per_epoch=epoch)
        optimizer = chain(built, settings, updates)
        call = train_program(
            model,
            self.plan.tasks,
            optimizer,
            budget,
            settings.batch_size,
            axis,
            tap=bool(arguments.get("tap", False)),
            cut=name not in weightings.SCALARIZATIONS,
            losses_after=weightings.needs(spec).losses_after,
        )
        # Compiled for shapes alone, so that the data need not be on the device yet.
        rows = 0 if axis is None else 1
        data = {k: jax.ShapeDtypeStruct(shape, dtype) for k, shape, dtype in columns}
        one = {
            k: jax.ShapeDtypeStruct((*shape[:rows], 1, *shape[rows + 1 :]), dtype)
            for k, shape, dtype in columns
        }
        seeds = jax.ShapeDtypeStruct((num_runs,), jnp.uint32)
        params = jax.eval_shape(self._model(index, axis).init, seeds, one)
        state = TrainState(params, jax.eval_shape(jax.vmap(optimizer.init), params))
        return optimizer, call.lower(state, seeds, data, np.int32(0)).compile()


def _probe_rows(columns: Mapping[str, np.ndarray], per_task: int = 4) -> dict[str, jax.Array]:
    """A few rows with some in every task's sample space."""
    mask = columns.get("mask")
    if mask is None:
        rows = np.arange(min(per_task, len(columns["labels"])))
    else:
        rows = np.unique(np.concatenate([np.flatnonzero(m)[:per_task] for m in mask.T]))
    return {k: jnp.asarray(v[rows]) for k, v in columns.items()}
