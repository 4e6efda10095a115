"""What a study was run with: packages, device, revision, data."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from mtl.data import Dataset

PACKAGES = ("jax", "jaxlib", "flax", "optax", "chex", "orbax-checkpoint", "numpy", "ml_collections", "optuna")


def provenance(datasets: Sequence[Dataset]) -> dict[str, Any]:
    """Collects the facts that make a result traceable.

    Args:
      datasets: the study's data sets.

    Returns:
      A JSON-serialisable dict: Python and package versions, device, git revision ("" outside a
      checkout; a trailing "+" marks local changes), and the data sets' own provenance.
    """
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": f"{device.device_kind} x {jax.device_count()} ({device.platform})",
        "git": _revision(),
        "datasets": [d.provenance for d in datasets],
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _revision() -> str:
    here = Path(__file__).parent
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""
