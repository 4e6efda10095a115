"""What a group's training holds in the memory of a device."""

from typing import Any, NamedTuple

import jax

from mtl.types import PyTree


class Memory(NamedTuple):
    """Bytes on the device that holds most, by purpose.

    Attributes:
      parameters: parameters and running statistics of the runs that the device trains.
      optimizer: their optimiser's and weighting's state.
      best: their parameters at the best step so far.
      data: columns of all splits.
      program: what a training call needs beyond these: intermediates and results.
      peak: the most that the device has held since the process began, by its own count; 0 where it has none,
        as on CPU.
    """

    parameters: int
    optimizer: int
    best: int
    data: int
    program: int
    peak: int = 0

    @property
    def total(self) -> int:
        """The sum of all but the peak."""
        return self.parameters + self.optimizer + self.best + self.data + self.program


def memory_of(state: Any, best: PyTree, columns: PyTree, held: PyTree, advance: Any) -> Memory:
    """Adds up what a group holds.

    Args:
      state: the runs' `TrainState`.
      best: their best variables.
      columns: training columns of one call, on the devices.
      held: the other data there.
      advance: the training call; compiled ahead of time, or its own needs count as 0.

    Returns:
      The bytes.
    """
    program = 0
    if hasattr(advance, "memory_analysis"):
        analysis = advance.memory_analysis()
        program = analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    statistics = [device.memory_stats() or {} for device in jax.local_devices()]
    return Memory(
        parameters=_on_one_device(state.variables),
        optimizer=_on_one_device(state.opt_state),
        best=_on_one_device(best),
        data=_on_one_device((columns, held)),
        program=max(program, 0),
        peak=max(found.get("peak_bytes_in_use", 0) for found in statistics),
    )


def _on_one_device(tree: PyTree) -> int:
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))
