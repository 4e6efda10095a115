"""Training records as TensorBoard event files, without TensorFlow."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

from mtl.errors import InputError
from mtl.report.workdir import Record, Study, number, read_study

FOLDER = "tensorboard"


def write_tensorboard(workdir: str | Path) -> Path:
    """Writes `tensorboard/` in a workdir, one folder of events per run.

    Tags are `loss/<task>`, `weight/<task>`, `residual`, `val/<task>/<metric>` and
    `gate_entropy/<gate>/<number>`. An earlier `tensorboard/` is replaced.

    Args:
      workdir: folder with `config.json`, `results.csv` and `metrics.jsonl`.

    Returns:
      The folder, for `tensorboard --logdir`.

    Raises:
      InputError: the package tensorboardX is missing, a result file is missing or malformed, or the folder
        cannot be written.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise InputError(
            "TensorBoard files need the package tensorboardX; install it with pip install 'mtl[tensorboard]'"
        ) from error
    folder = Path(workdir) / FOLDER
    study = read_study(workdir)
    try:
        for old in folder.rglob("events.out.tfevents.*"):
            old.unlink()
        for name, records in _runs(study).items():
            with SummaryWriter(str(folder / name)) as writer:
                for record in records:
                    for tag, value in _scalars(record):
                        if math.isfinite(value):
                            writer.add_scalar(tag, value, record.step)
    except OSError as error:
        raise InputError(
            f"cannot write {folder}: {error.strerror}; free space or change its owner"
        ) from error
    return folder


def _runs(study: Study) -> dict[str, list[Record]]:
    """Folder name → records of the run, in the order of the file."""
    runs: dict[tuple[str, ...], list[Record]] = {}
    for record in study.records:
        key = (*record.group, *record.method, str(record.seed))
        runs.setdefault(key, []).append(record)
    named: dict[str, list[Record]] = {}
    for (dataset, hparams, model, weighting, seed), records in runs.items():
        name = "/".join(_plain(p) for p in (dataset, hparams, f"{model}-{weighting}", f"seed-{seed}") if p)
        # Names that differ only in characters that a file name lacks are told apart by a number.
        unique = next(n for n in (name, *(f"{name}-{i}" for i in range(2, len(runs) + 2))) if n not in named)
        named[unique] = records
    return named


def _plain(name: str) -> str:
    return re.sub(r"[^\w.=,-]+", "-", name).strip(".-") or "unnamed"


def _scalars(record: Record) -> Iterator[tuple[str, float]]:
    content = record.content
    if record.kind == "train":
        for part in ("loss", "weight"):
            for task, value in content[part].items():
                yield f"{part}/{task}", number(value)
        yield "residual", number(content.get("residual"))
    if record.kind == "val":
        for task, values in content["metrics"].items():
            for metric, value in values.items():
                yield f"val/{task}/{metric}", number(value)
    for gate, values in content.get("gates", {}).items():
        for i, entropy in enumerate(values.get("entropy") or ()):
            yield f"gate_entropy/{gate}/{i + 1}", number(entropy)
