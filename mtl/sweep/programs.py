"""What the groups of a study compile, each program once."""

import functools
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from mtl import weightings
from mtl.data import Stream, Windows, read_steps
from mtl.errors import InputError
from mtl.models import FusedTable, fused_table, initial_variables
from mtl.ownership import Ownership
from mtl.sweep.plan import Group, Plan, group_tasks, numbers, spec_of, structure, train_structure
from mtl.sweep.sources import shapes, unequal_draws
from mtl.train import (
    GroupData,
    Layout,
    ModelProgram,
    Read,
    Scope,
    Stack,
    TrainProgram,
    chain,
    find_ownership,
    group_data,
    layout_of,
    model_program,
    one_run,
    part_mask,
    shapes_on,
    sparse_rows,
    train_program,
)


class Compiled(NamedTuple):
    """What a group needs to train.

    Attributes:
      layout: where its runs are.
      model: compiled functions of its model.
      train: the compiled training of all its runs.
    """

    layout: Layout
    model: ModelProgram
    train: TrainProgram


class Programs:
    """Compiles groups, and keeps what they share: device data, functions of a model, training calls.

    `compile` may be called from several threads at once; each program is compiled by the first that asks.
    """

    def __init__(self, plan: Plan):
        """Starts with nothing compiled."""
        self.plan = plan
        self._lock = threading.Lock()
        self._model = functools.cache(self._make_model)
        self._ownership = functools.cache(self._make_ownership)
        self._train: dict[Any, Future[TrainProgram]] = {}
        self._data: tuple[Any, GroupData, list[Windows | None]] | None = None

    def data(self, group: Group) -> GroupData:
        """Returns a group's data on its devices; only that of the last group is kept."""
        size = group.runs[0].settings.eval_batch_size
        layout = layout_of(len(group.runs), group.runs[0].settings)
        key = (group.sources, size, layout)
        if self._data is None or self._data[0] != key:
            self._data = None  # the last one's memory is free before the next is loaded
            sets = [self.plan.load(self.plan.sources[i].arguments) for i in group.sources]
            if len({shapes(d) for d in sets}) > 1:
                raise unequal_draws()
            held = group_data([d.splits for d in sets], size, layout, self._streams(group))
            self._data = (key, held, [d.stream for d in sets])
        _, held, windows = self._data
        return held._replace(read=_reader(group, windows)) if self._streams(group) else held

    def stack(self, group: Group) -> Stack:
        """Returns what distinguishes a group's runs."""
        position = {source: i for i, source in enumerate(group.sources)}
        each = [numbers(self.plan, group, run) for run in group.runs]
        found = streams(group) if self._streams(group) else ()
        place = [found.index((run.source, run.seed)) for run in group.runs] if found else None
        return Stack(
            seeds=np.array([run.seed for run in group.runs], np.uint32),
            source=np.array([position[run.source] for run in group.runs], np.int32),
            numbers=jax.tree.map(lambda *x: np.asarray(x, np.float32), *each),
            stream=None if place is None else np.array(place, np.int32),
        )

    def compile(self, group: Group) -> Compiled:
        """Returns a group's compiled functions, of which groups with the same program share one."""
        layout = layout_of(len(group.runs), group.runs[0].settings)
        stack = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, self.stack(group)))
        runs, first = layout.padded(len(group.runs)), group.runs[0]
        stack = jax.tree.map(lambda x: jax.ShapeDtypeStruct((runs, *x.shape[1:]), x.dtype), stack)
        stack = shapes_on(stack, layout)
        specs = [spec_of(self.plan, weighting) for weighting in group.branches]
        fixed = tuple(map(structure, specs)), train_structure(first.settings)
        read = len(streams(group)) if self._streams(group) else 0
        sets = len(group.sources), self.plan.sources[first.source].shapes, read
        key = (group.model, fixed, group.budget, runs, sets, group_tasks(self.plan, group), layout)
        with self._lock:
            model = self._model(group.model, layout)
            name, arguments = weightings.parse(specs[0])
            weighs_all = name in weightings.SCALARIZATIONS
            asked = not weighs_all or first.settings.optimizers == "per_owner"
            owned = self._ownership(group.model) if asked else None
            shared = None if weighs_all or owned is None else owned.shared
            if shared is not None and first.settings.freeze:
                # What does not move is no part of a conflict.
                fixed = part_mask(shared, first.settings.freeze)
                shared = jax.tree.map(lambda move, still: move and not still, shared, fixed)
                if not any(jax.tree.leaves(shared)):
                    raise InputError(
                        f"train.freeze leaves {name!r} nothing that tasks share to balance; freeze less, or "
                        "use a weighting of the whole loss such as 'static'"
                    )
            scope = Scope(
                num_tasks=len(self.plan.tasks),
                shared=shared,
                slices=None if owned is None else owned.slices,
                tap=bool(arguments.get("tap", False)),
            )
            ours = key not in self._train
            program = self._train.setdefault(key, Future())
        if ours:
            try:
                program.set_result(self._make_train(group, layout, stack, model, scope))
            except BaseException as e:
                program.set_exception(e)
        return Compiled(layout, model, program.result())

    @property
    def count(self) -> int:
        """The number of training programs so far."""
        return len(self._train)

    def _make_model(self, index: int, layout: Layout) -> ModelProgram:
        return model_program(self.plan.models[index][2], layout)

    def _make_ownership(self, index: int) -> Ownership:
        """Which tasks own the leaves of a model, found on a few training rows."""
        model = self.plan.models[index][2]
        batch = _probe_rows(self.plan.sample[0].splits["train"])
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        shapes = jax.eval_shape(functools.partial(initial_variables, model), keys, batch)
        table = fused_table(model)
        if table is not None:
            batch, shapes = _with_few_rows(batch, shapes, table)
        # Any finite values do: what depends on what is a matter of structure.
        draw = np.random.default_rng(0)
        stats = jax.tree.map(lambda x: jnp.asarray(0.1 * draw.normal(size=x.shape), x.dtype), shapes)
        params = stats.pop("params")
        return find_ownership(model, self.plan.tasks, params, batch, stats)

    def _make_train(
        self, group: Group, layout: Layout, stack: Stack, model: ModelProgram, scope: Scope
    ) -> TrainProgram:
        plan, first = self.plan, group.runs[0]
        settings, budget = first.settings, group.budget
        specs = [spec_of(plan, weighting) for weighting in group.branches]
        parsed = [weightings.parse(spec) for spec in specs]
        kinds = [t.kind for t in plan.tasks]
        updates, epoch = (n // budget.batches for n in (budget.steps, budget.steps_per_epoch))

        def make_optimizer(run):
            weighting = weightings.build_one_of(
                [
                    {"name": name, **arguments, **own}
                    for (name, arguments), own in zip(parsed, run["weighting"], strict=True)
                ],
                run["branch"].astype(jnp.int32),
                kinds=kinds,
                shared=scope.shared,
                steps_per_epoch=epoch,
            )
            return chain(weighting, settings._replace(**run["train"]), updates, scope)

        reads_tasks = parsed[0][0] not in weightings.SCALARIZATIONS or settings.optimizers == "per_loss"
        program = train_program(
            plan.models[group.model][2],
            group_tasks(plan, group),
            make_optimizer,
            budget,
            settings.batch_size,
            layout,
            tap=scope.tap,
            cut=reads_tasks and _cuts(plan, group),
            losses_after=weightings.needs(specs[0]).losses_after,
            sparse=sparse_rows(plan.models[group.model][2], settings, budget.batches),
        )
        # Compiled for shapes alone, so that the data need not be on the devices yet.
        held = plan.sample[self._variant(first.source)].splits["train"]
        leading: Any = (len(group.sources), len(held["labels"]))
        if self._streams(group):
            leading = (len(streams(group)), budget.steps_per_call * settings.batch_size)
        columns = {
            k: jax.ShapeDtypeStruct((*leading, *v.shape[1:]), v.dtype, sharding=layout.everywhere)
            for k, v in held.items()
        }
        row = {k: jax.ShapeDtypeStruct((1, *v.shape[2:]), v.dtype) for k, v in columns.items()}
        variables = jax.eval_shape(model.init, stack.seeds, row)
        variables = shapes_on(variables, layout, model.rows(one_run(variables)))
        state = jax.eval_shape(program.start, variables, stack)
        state = shapes_on(state, layout, program.rows(one_run(state), one_run(stack.numbers)))
        lowered = program.advance.lower(state, stack, columns, np.int32(0))
        return program._replace(advance=lowered.compile())

    def _streams(self, group: Group) -> bool:
        """Whether the group's training rows stream from disk."""
        return self.plan.sample[self._variant(group.runs[0].source)].stream is not None

    def _variant(self, source: int) -> int:
        """Which entry of `Plan.sample` has the shapes of a data set."""
        wanted = self.plan.sources[source].shapes
        return next(i for i, d in enumerate(self.plan.sample) if shapes(d) == wanted)


_MANY_TASKS = 16
"""From so many tasks on, passing each tower once pays for a copy of common features per task and run.

With 8 runs and batches of 256 and 1,024, a step of MGDA on a small Shared-Bottom is 1.6 and 1.2 times as fast
with 16 tasks, and 1.1 and .8 times with 8; alone, a run is faster with any number.
"""


def _cuts(plan: Plan, group: Group) -> bool:
    """Whether backward passes from the tasks' own features are faster, see `make_step`."""
    alike = hasattr(plan.models[group.model][2].extractor, "common")
    return not alike or len(group.runs) == 1 or len(plan.tasks) >= _MANY_TASKS


def streams(group: Group) -> tuple[tuple[int, int], ...]:
    """The orders in which a group's runs read their rows from disk: source and seed, each pair once."""
    return tuple(dict.fromkeys((run.source, run.seed) for run in group.runs))


def _reader(group: Group, windows: Sequence[Windows | None]) -> Read:
    """The function that reads the rows of a group's steps, every run's in the order of its own seed."""
    size, per_epoch = group.runs[0].settings.batch_size, group.budget.steps_per_epoch
    sets = {i: w for i, w in zip(group.sources, windows, strict=True) if w is not None}
    found = [Stream(sets[source], seed, size, per_epoch) for source, seed in streams(group)]
    like = next(iter(sets.values())).blocks
    return functools.partial(read_steps, found, like, size)


def _probe_rows(columns: Mapping[str, np.ndarray], per_task: int = 4) -> dict[str, jax.Array]:
    """A few rows with some in every task's sample space."""
    mask = columns.get("mask")
    if mask is None:
        rows = np.arange(min(per_task, len(columns["labels"])))
    else:
        rows = np.unique(np.concatenate([np.flatnonzero(m)[:per_task] for m in mask.T]))
    return {k: jnp.asarray(v[rows]) for k, v in columns.items()}


def _with_few_rows(
    batch: dict[str, jax.Array], shapes: dict[str, Any], table: FusedTable
) -> tuple[dict[str, jax.Array], dict[str, Any]]:
    """Reduces the table to the rows that some data rows read: which task reads it is the same."""
    found, positions = np.unique(np.asarray(table.rows(batch["ids"])), return_inverse=True)
    positions = positions.reshape(batch["ids"].shape).astype(np.int32)
    params = flatten_dict(shapes["params"])
    *stack, _, width = params[table.path].shape
    # More rows than tasks, so that rows are not taken for the tasks' slices.
    rows = len(found) + batch["labels"].shape[-1] + 1
    params[table.path] = jax.ShapeDtypeStruct((*stack, rows, width), jnp.float32)
    return {**batch, "positions": jnp.asarray(positions)}, {**shapes, "params": unflatten_dict(params)}
