"""How the runs of a group lie on the devices, and in which order a device takes its own.

The runs of a group are a stack, sharded over a mesh with one axis; no run ever talks to another. On
accelerators a device `vmap`s over its shard. On CPU it takes one run after the other, which is as fast per
run as `vmap` (`python -m benchmarks.groups`) and holds the activations of one run only; cores are used by one
simulated device each. Results on other numbers of devices, or in another group, agree up to rounding.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mtl.types import PyTree

RUNS = "runs"


class Layout(NamedTuple):
    """Where the runs of a group are.

    Attributes:
      mesh: one axis of devices.
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

    def padded(self, num_runs: int) -> int:
        """The least multiple of the number of devices that holds so many runs."""
        return -(-num_runs // self.mesh.size) * self.mesh.size


def layout_for(num_runs: int, devices: Sequence[jax.Device] | None = None) -> Layout:
    """Chooses the layout of a group.

    Args:
      num_runs: its runs S.
      devices: what to use; this process's devices by default. No more than S are used.

    Returns:
      The layout.
    """
    chosen = list(devices or jax.local_devices())[:num_runs]
    return Layout(Mesh(np.array(chosen), (RUNS,)), chosen[0].platform == "cpu")


def one_device_per_core() -> None:
    """Makes JAX simulate one CPU device per core.

    Without effect where JAX is in use already, or where `XLA_FLAGS` sets the number of devices.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", cores)


def over_runs(
    function: Callable[..., PyTree], layout: Layout, num_stacked: int, **options: Any
) -> Callable[..., PyTree]:
    """Compiles a function of one run into one of a group.

    Args:
      function: a function of one run; its first `num_stacked` arguments are the run's own.
      layout: where the runs are.
      num_stacked: how many arguments, the first ones, get a leading axis of runs.
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
            shard, mesh=layout.mesh, in_specs=specs, out_specs=PartitionSpec(RUNS), check_vma=False
        )
        return sharded(*arguments)

    return jax.jit(stacked, **options)


def put_by_run(tree: PyTree, layout: Layout) -> PyTree:
    """Moves arrays `[S, …]` to the devices, repeating the last run until they fill the devices evenly.

    Args:
      tree: host arrays with a leading axis of runs.
      layout: where they go.

    Returns:
      Device arrays.
    """

    def put(x):
        x = np.asarray(x)
        missing = layout.padded(len(x)) - len(x)
        return jax.device_put(np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]), layout.by_run)

    return jax.tree.map(put, tree)


def shapes_on(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """The shapes of a tree, as arguments for compiling ahead of time.

    Args:
      tree: arrays or shapes.
      sharding: where they will lie.

    Returns:
      A tree of `jax.ShapeDtypeStruct`.
    """
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype, sharding=sharding), tree)
