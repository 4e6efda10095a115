"""Files of a study: the columns of the results, and writing so that nobody ever sees half of a file."""

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

RESULT_COLUMNS = (
    "study",
    "dataset",
    "model",
    "weighting",
    "hparams",
    "seed",
    "split",
    "task",
    "metric",
    "value",
    "step",
)
"""Columns of `results.csv`, one row per run, split, task and metric; the first six name the run."""


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Writes a file under a temporary name in the same folder, then renames it.

    Args:
      path: the file; its folder is made when it does not exist.
      content: text (UTF-8, newlines as they are) or bytes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def to_json(value: Any, indent: int | None = None) -> str:
    """Serialises to strict JSON with sorted keys; numbers that are not finite become null."""
    return json.dumps(_finite(value), sort_keys=True, allow_nan=False, indent=indent)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
