"""Checkpoints of a group with Orbax: atomic, the last state and the best parameters.

Runs that only fill the devices are left out, and other arrays are written from where they lie, without a copy
on the host. Processes that train together each write and read what lies on their own devices, a table's rows
among it, so that none ever holds the whole; if those that fill up the last device's share are saved, they are
cut off when the table is read. Either kind is restored on any number of devices and processes.
"""

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from mtl.errors import InputError
from mtl.train.step import TrainState
from mtl.types import PyTree

MARGIN_BYTES = 2**20
"""Room for the metadata and the log of a checkpoint."""


class Snapshot(NamedTuple):
    """Everything a group needs to go on as if nothing had happened.

    Attributes:
      state: the stacked training state, arrays of the host or of devices.
      best: the stacked parameters and running statistics with the best validation value.
      log: JSON-serialisable record of the host: steps done, best values, curves, path and rows of the table.
    """

    state: TrainState
    best: PyTree
    log: dict[str, Any]


def save(folder: Path, step: int, snapshot: Snapshot) -> None:
    """Writes a checkpoint; the one before it is deleted once the new one is complete.

    Args:
      folder: the group's folder.
      step: steps done, the checkpoint's name.
      snapshot: what to save.

    Raises:
      OSError: the disk is full or cannot be written.
    """
    # Orbax meets a full disk in its own threads, with pages of tracebacks: better not to begin.
    folder.mkdir(parents=True, exist_ok=True)
    size = sum(x.nbytes for x in jax.tree.leaves((snapshot.state, snapshot.best)))
    if shutil.disk_usage(folder).free < 2 * size + MARGIN_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    with _manager(folder) as manager:
        if manager.latest_step() == step:
            return
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(snapshot.state),
            best=ocp.args.StandardSave(snapshot.best),
            log=ocp.args.JsonSave(snapshot.log),
        )
        try:
            manager.save(step, args=items)
            manager.wait_until_finished()
        except ValueError as e:  # what TensorStore makes of an error of the file system
            code = errno.ENOSPC if "No space left" in str(e) else errno.EIO
            raise OSError(code, os.strerror(code), str(folder)) from e


def restore(folder: Path, like: Snapshot) -> Snapshot | None:
    """Reads the newest complete checkpoint.

    Args:
      folder: the group's folder.
      like: a snapshot with the structure, shapes and dtypes of the saved one; what several processes hold
        is restored to where it lies.

    Returns:
      The snapshot, otherwise of host arrays; None when there is no complete checkpoint.

    Raises:
      InputError: a checkpoint is there but cannot be read.
    """
    if not folder.is_dir():
        return None
    with _manager(folder) as manager:
        step = manager.latest_step()
        if step is None:
            return None
        items = ocp.args.Composite(
            # Not strict: rows that fill up a table may be more or fewer.
            state=ocp.args.StandardRestore(jax.tree.map(_target, like.state), strict=False),
            best=ocp.args.StandardRestore(jax.tree.map(_target, like.best), strict=False),
            log=ocp.args.JsonRestore(),
        )
        try:
            found = manager.restore(step, args=items)
        except Exception as e:
            reason = str(e).splitlines()[0][:120] if str(e) else type(e).__name__
            raise InputError(
                f"checkpoint {folder / str(step)} cannot be read ({reason}); delete that folder to train "
                "its group again from the start"
            ) from e
    return Snapshot(found.state, found.best, found.log)


def read_best(folder: Path) -> PyTree:
    """Reads the selected variables of a finished group, on the host.

    Args:
      folder: the group's folder of checkpoints.

    Returns:
      Parameters and running statistics by collection, leaves `[S, …]`.

    Raises:
      InputError: there is no complete checkpoint, or it cannot be read.
    """
    try:
        with _manager(folder) as manager:
            step = manager.latest_step()
            shapes = manager.item_metadata(step)["best"]
            items = ocp.args.Composite(
                best=ocp.args.StandardRestore(jax.tree.map(_on_host, shapes)), log=ocp.args.JsonRestore()
            )
            found = manager.restore(step, args=items)
            return _own_rows(found["best"], found["log"].get("table"))
    except Exception as e:
        reason = str(e).splitlines()[0][:120] if str(e) else type(e).__name__
        raise InputError(f"checkpoint {folder} cannot be read ({reason}); train its study again") from e


def _own_rows(best: PyTree, table: Mapping[str, Any] | None) -> PyTree:
    """Variables without the rows that several processes have filled up their table with."""
    if table is None:
        return best
    return jax.tree_util.tree_map_with_path(
        lambda path, x: x[..., : table["rows"], :] if [k.key for k in path] == table["path"] else x, best
    )


def _target(x: Any) -> Any:
    """What tells Orbax where to restore an array."""
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
    return _on_host(x)


def _on_host(x: Any) -> np.ndarray:
    return np.broadcast_to(np.zeros((), x.dtype), x.shape)  # of any size, it takes no memory


def _manager(folder: Path) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    # They tell the shapes of items; without these Orbax restores to the very devices that have saved them.
    handlers = {
        "state": ocp.StandardCheckpointHandler(),
        "best": ocp.StandardCheckpointHandler(),
        "log": ocp.JsonCheckpointHandler(),
    }
    return ocp.CheckpointManager(folder.absolute(), options=options, item_handlers=handlers)
