"""Checkpoints of a group with Orbax: atomic, the last state and the best parameters."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from mtl.errors import InputError
from mtl.train.step import TrainState
from mtl.types import PyTree


class Snapshot(NamedTuple):
    """Everything a group needs to go on as if nothing had happened.

    Attributes:
      state: the stacked training state.
      best: the stacked parameters with the best validation value.
      log: JSON-serialisable record of the host: steps done, best values, curves.
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
    """
    with _manager(folder) as manager:
        if manager.latest_step() == step:
            return
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(snapshot.state),
            best=ocp.args.StandardSave(snapshot.best),
            log=ocp.args.JsonSave(snapshot.log),
        )
        manager.save(step, args=items)
        manager.wait_until_finished()


def restore(folder: Path, like: Snapshot) -> Snapshot | None:
    """Reads the newest complete checkpoint.

    Args:
      folder: the group's folder.
      like: a snapshot with the structure, shapes and dtypes of the saved one.

    Returns:
      The snapshot; None when there is no complete checkpoint.

    Raises:
      InputError: a checkpoint is there but cannot be read.
    """
    if not folder.is_dir():
        return None
    with _manager(folder) as manager:
        step = manager.latest_step()
        if step is None:
            return None
        shapes = jax.eval_shape(lambda: (like.state, like.best))
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(shapes[0]),
            best=ocp.args.StandardRestore(shapes[1]),
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


def _manager(folder: Path) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    return ocp.CheckpointManager(folder.absolute(), options=options)
