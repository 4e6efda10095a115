"""The workdir of a study: free, or with a study to continue, and its `config.json`."""

import errno
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtl import weightings
from mtl.errors import InputError
from mtl.files import to_json, write_atomic
from mtl.sweep.config import Spec, without_label
from mtl.sweep.plan import BASELINE_WEIGHTING, Plan
from mtl.sweep.provenance import provenance


def prepare_folder(workdir: Path, *, resume: bool) -> list[Path]:
    """Makes the workdir if it is free (or resumed) and can be written.

    Args:
      workdir: the study's folder.
      resume: whether it may hold a study.

    Returns:
      The folders made.

    Raises:
      InputError: the folder is a file, is not empty, or cannot be written.
    """
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"--workdir={workdir} is a file; name a folder")
    if workdir.is_dir() and any(workdir.iterdir()) and not resume:
        raise InputError(
            f"--workdir={workdir} is not empty and is never overwritten; continue it with --resume, "
            "or name another folder"
        )
    made = [folder for folder in (workdir, *workdir.parents) if not folder.exists()]
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / f".probe.{os.getpid()}.tmp"
        probe.touch()
        probe.unlink(missing_ok=True)  # process 0 of several may have cleaned up meanwhile
    except OSError as e:
        if e.errno == errno.ENOSPC:
            raise
        raise InputError(
            f"--workdir={workdir} cannot be written: {e.strerror}; name a folder that can be"
        ) from None
    return made


def write_config(workdir: Path, config: Mapping[str, Any], plan: Any) -> None:
    """Writes `config.json`: the resolved config, what it is run with, the tasks, what weightings cost.

    Args:
      workdir: the study's folder.
      config: the plain config.
      plan: what was made of it.
    """
    per_loss = config["train"].get("optimizers") == "per_loss"
    content = {
        "config": config,
        "provenance": provenance(plan.sample),
        "tasks": [t._asdict() for t in plan.tasks],
        "costs": costs(plan.weightings, len(plan.tasks), per_loss) if isinstance(plan, Plan) else {},
    }
    write_atomic(workdir / "config.json", to_json(content, indent=1) + "\n")


def costs(
    specs: Sequence[tuple[str, Spec]], num_tasks: int, per_loss: bool = False
) -> dict[str, dict[str, int]]:
    """What an update of each weighting takes.

    Args:
      specs: label and spec of every weighting.
      num_tasks: T.
      per_loss: whether every loss has an optimiser of its own, which needs all gradients.

    Returns:
      Per label the full backward passes and the batches; that of the baseline's plain sum too.
    """
    every = {BASELINE_WEIGHTING: BASELINE_WEIGHTING, **{name: without_label(spec) for name, spec in specs}}
    return {
        name: {
            "backward_passes": max(weightings.backward_passes(spec, num_tasks), num_tasks if per_loss else 0),
            "batches": weightings.needs(spec).batches,
        }
        for name, spec in every.items()
    }


def stored_config(workdir: Path) -> dict[str, Any]:
    """Reads the config of the study in a folder.

    Args:
      workdir: the study's folder.

    Returns:
      The plain config, as it was written.

    Raises:
      InputError: there is none, or it is damaged.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise InputError(f"{workdir} holds no study (no config.json); start one without --resume or --report")
    try:
        stored = json.loads(path.read_text())["config"]
        if not isinstance(stored, dict):
            raise TypeError(f"config is {stored!r}")
    except (ValueError, KeyError, TypeError) as e:
        text = " ".join(str(e).split())
        raise InputError(f"{path} is damaged ({text}); start the study in another --workdir") from None
    return stored
