"""How the runs of a group lie on the devices, and in which order a device takes its own.

The runs of a group are a stack, sharded over the axis `runs` of a mesh; no run ever talks to another. On
accelerators a device `vmap`s over its shard. On CPU it takes one run after the other, which is as fast per
run as `vmap` (`python -m benchmarks.groups`) and holds the activations of one run only; cores are used by one
simulated device each. Results on other numbers of devices, or in another group, agree up to rounding.

A run may also have several devices, on two further axes: `data`, and `rows` for the rows of its tables. All
of them share its batch; parameters other than tables are on each. The program stays that of one device with
the whole batch, and XLA partitions it (`runs` is a manual axis, the others are automatic), so a loss is the
mean over the whole batch, and a Gramian is of the gradients of those means.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mtl.embedding import RowAxis, row_spec
from mtl.errors import InputError
from mtl.train.settings import TrainSettings
from mtl.types import PyTree

RUNS, DATA, ROWS = "runs", "data", "rows"


class Layout(NamedTuple):
    """Where the runs of a group are.

    Attributes:
      mesh: devices with the axis `runs`, and where a run has several the axes `data` and `rows`.
      one_by_one: whether a device takes its runs in turn instead of all at once.
    """

    mesh: Mesh
    one_by_one: bool

    @property
    def by_run(self) -> NamedSharding:
        """The sharding of arrays with a leading axis of runs."""
        return NamedSharding(self.mesh, PartitionSpec(RUNS))

    @property
    def everywhere(self) -> NamedSharding:
        """The sharding of arrays that all runs read."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def devices_per_run(self) -> int:
        """How many devices share the batch of a run."""
        return self.mesh.size // self.mesh.shape[RUNS]

    @property
    def table_axis(self) -> str:
        """The axis of the mesh over which the rows of tables are divided; "" if they are not."""
        return ROWS if self.mesh.shape.get(ROWS, 1) > 1 else ""

    def by_row(self, where: RowAxis) -> NamedSharding:
        """The sharding of an array with a leading axis of runs, whose rows of a table may be divided."""
        spec = row_spec(where, self.table_axis) if self.table_axis else PartitionSpec()
        return NamedSharding(self.mesh, PartitionSpec(RUNS, *spec))

    def padded(self, num_runs: int) -> int:
        """The least multiple of the places for runs that holds so many."""
        places = self.mesh.shape[RUNS]
        return -(-num_runs // places) * places

    def filled(self, num_rows: int) -> int:
        """The least multiple of the devices over which a table is divided that holds so many rows."""
        shards = self.mesh.shape.get(ROWS, 1)
        return -(-num_rows // shards) * shards

    def split(self, batch: PyTree) -> PyTree:
        """Has the devices of a run share the rows of a batch, inside a function for `over_runs`."""
        if self.devices_per_run == 1:
            return batch

        def share(x):
            even = x.shape[0] % self.devices_per_run == 0
            return jax.lax.with_sharding_constraint(x, PartitionSpec((DATA, ROWS))) if even else x

        return jax.tree.map(share, batch)

    def whole(self, tree: PyTree) -> PyTree:
        """Has every device of a run hold all of some arrays, inside a function for `over_runs`."""
        if self.devices_per_run == 1:
            return tree
        return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, PartitionSpec()), tree)


def layout_for(num_runs: int, devices: Sequence[jax.Device] | None = None) -> Layout:
    """Chooses the layout of a group of runs with one device each.

    Args:
      num_runs: its runs S.
      devices: what to use; this process's devices by default. No more than S are used.

    Returns:
      The layout.
    """
    chosen = list(devices or jax.local_devices())[:num_runs]
    return Layout(Mesh(np.array(chosen), (RUNS,)), chosen[0].platform == "cpu")


def layout_of(num_runs: int, settings: TrainSettings, devices: Sequence[jax.Device] | None = None) -> Layout:
    """Chooses the layout of a group as its settings ask for it.

    A run has `data_parallel` × `table_shards` devices. Processes that have joined their devices train every
    run together: each of them gives it equally many.

    Args:
      num_runs: its runs S.
      settings: of its runs.
      devices: what to use; all that this process and those joined with it have by default.

    Returns:
      The layout; where runs have several devices, as many places for runs as there are devices for and as
      divide S, so that none is trained twice.

    Raises:
      InputError: there are too few devices, or they cannot share the batch or be shared among the processes.
    """
    devices = list(devices or jax.devices())
    by_process: dict[int, list[jax.Device]] = {}
    for device in devices:
        by_process.setdefault(device.process_index, []).append(device)
    processes = len(by_process)
    least = min(map(len, by_process.values()))
    shards = settings.table_shards
    data = settings.data_parallel or max(1, processes * least // shards)
    count = data * shards
    if count == 1 and processes == 1:
        return layout_for(num_runs, devices)
    asked = f"train.data_parallel x train.table_shards is {data} x {shards}"
    if count % processes:
        raise InputError(f"{asked}, expected a multiple of the {processes} processes; 0 takes all devices")
    if count > processes * least:
        raise InputError(f"{asked} devices for a run, but there are {processes * least}; ask for fewer")
    if settings.batch_size % count:
        raise InputError(
            f"train.batch_size is {settings.batch_size}, which {count} devices cannot share evenly "
            f"({asked}); expected a multiple of {count}"
        )
    own = count // processes
    places = max(n for n in range(1, num_runs + 1) if num_runs % n == 0 and n * own <= least)
    mesh = [[d[own * i : own * (i + 1)] for d in by_process.values()] for i in range(places)]
    grid = np.array(mesh).reshape(places, data, shards)
    # jax 0.11 wants the axis of an inner `shard_map` before that of the outer one.
    return Layout(Mesh(grid.transpose(2, 0, 1), (ROWS, RUNS, DATA)), devices[0].platform == "cpu")


def one_device_per_core(processes: int = 1) -> None:
    """Makes JAX simulate one CPU device per core.

    Without effect where JAX is in use already, or where `XLA_FLAGS` sets the number of devices.

    Args:
      processes: how many share the cores of this machine.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", max(1, cores // processes))


def over_runs(
    function: Callable[..., PyTree],
    layout: Layout,
    num_stacked: int,
    rows: Callable[..., PyTree] | None = None,
    **options: Any,
) -> Callable[..., PyTree]:
    """Compiles a function of one run into one of a group.

    Args:
      function: a function of one run; its first `num_stacked` arguments are the run's own.
      layout: where the runs are.
      num_stacked: how many arguments, the first ones, get a leading axis of runs.
      rows: `(result, *arguments) -> RowAxis` of every leaf of the result, where tables may be divided; given
        the shapes of one run. None: of no leaf.
      **options: for `jax.jit`.

    Returns:
      The jitted function; its results all have a leading axis of runs, sharded as the arguments.
    """

    def shard(*arguments):
        own, common = arguments[:num_stacked], arguments[num_stacked:]
        if jax.tree.leaves(own)[0].shape[0] == 1:
            # A loop over one run would copy its state in and out, which counts where tables are large.
            alone = function(*jax.tree.map(lambda x: x[0], own), *common)
            return jax.tree.map(lambda x: x[None], alone)
        if layout.one_by_one:
            return jax.lax.map(lambda mine: function(*mine, *common), own)
        return jax.vmap(lambda *mine: function(*mine, *common))(*own)

    def stacked(*arguments):
        specs = tuple(
            PartitionSpec(RUNS) if i < num_stacked else PartitionSpec() for i in range(len(arguments))
        )
        # Runs are independent: there is no replication to check, and solvers' loops start from constants.
        sharded = jax.shard_map(
            shard,
            mesh=layout.mesh,
            in_specs=specs,
            out_specs=PartitionSpec(RUNS),
            axis_names={RUNS},
            check_vma=False,
        )
        result = sharded(*arguments)
        if layout.devices_per_run == 1:
            return result
        # The devices of a run could divide its results as they like.
        places = shardings(result, layout, rows and rows(one_run(result), *one_run(arguments)))
        return jax.lax.with_sharding_constraint(result, places)

    return jax.jit(stacked, **options)


def one_run(tree: PyTree) -> PyTree:
    """The shapes of one run, of arrays or shapes with a leading axis of runs."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x)[1:], x.dtype), tree)


def shardings(tree: PyTree, layout: Layout, rows: PyTree | None = None) -> PyTree:
    """How arrays with a leading axis of runs lie on the devices.

    Args:
      tree: arrays or shapes.
      layout: where the runs are.
      rows: the `RowAxis` of every leaf for one run, see `mtl.embedding.row_axes`; None if none has any.

    Returns:
      The sharding of every leaf.
    """
    if rows is None or not layout.table_axis:
        return jax.tree.map(lambda _: layout.by_run, tree)
    return jax.tree.map(lambda _, where: layout.by_row(where), tree, rows)


def put_by_run(tree: PyTree, layout: Layout, like: PyTree | None = None) -> PyTree:
    """Moves arrays `[S, …]` to the devices, repeating the last run until they fill the devices evenly.

    Args:
      tree: host arrays with a leading axis of runs; what lies on the devices of several processes stays.
      layout: where they go.
      like: device arrays that lie as these shall, and have as many rows, those that fill up a table among
        them; None divides the runs only.

    Returns:
      Device arrays.
    """

    def stack(x, other=None):
        if isinstance(x, jax.Array) and not x.is_fully_addressable:
            return x
        x = np.asarray(x)
        missing = layout.padded(len(x)) - len(x)
        full = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing else x
        if other is None:
            return put(full, layout.by_run)
        full = full[tuple(map(slice, other.shape))]
        more = [(0, n - m) for n, m in zip(other.shape, full.shape, strict=True)]
        return put(np.pad(full, more) if np.any(more) else full, other.sharding)

    return jax.tree.map(stack, tree) if like is None else jax.tree.map(stack, tree, like)


def put(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Moves host arrays, the same in all processes, to the devices; each process to its own.

    Args:
      tree: host arrays.
      sharding: where they go.

    Returns:
      Device arrays.
    """
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    # `device_put` would compare the arrays of all processes first.
    return jax.tree.map(
        lambda x: jax.make_array_from_callback(np.shape(x), sharding, np.asarray(x).__getitem__), tree
    )


def on_host(tree: PyTree) -> PyTree:
    """Fetches device arrays; where several processes hold them, all must call this and get the whole.

    Args:
      tree: device arrays.

    Returns:
      Host arrays.
    """

    def fetch(x):
        known = not isinstance(x, jax.Array) or x.is_fully_addressable or x.is_fully_replicated
        return x if known else multihost_utils.process_allgather(x, tiled=True)

    return jax.device_get(jax.tree.map(fetch, tree))


def agreed(*decisions: bool) -> tuple[bool, ...]:
    """What the first of the processes that train together has decided, for all of them.

    Args:
      *decisions: of this process.

    Returns:
      Those of the first.
    """
    if jax.process_count() == 1:
        return decisions
    return tuple(multihost_utils.broadcast_one_to_all(np.array(decisions)).tolist())


def shapes_on(tree: PyTree, layout: Layout, rows: PyTree | None = None) -> PyTree:
    """The shapes of a tree with a leading axis of runs, as arguments for compiling ahead of time.

    Args:
      tree: arrays or shapes.
      layout: where they will lie.
      rows: see `shardings`.

    Returns:
      A tree of `jax.ShapeDtypeStruct`.
    """
    places = shardings(tree, layout, rows)
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype, sharding=s), tree, places)
