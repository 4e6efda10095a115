"""A study's files from a list of numbers, for tests that need to know each of them."""

import json

from mtl.report import read_study

HEADER = "study,dataset,model,weighting,hparams,seed,split,task,metric,value,step"


def write_study(
    folder, rows, *, kinds=("binary", "regression"), baseline="", records=(), config=(), costs=None
):
    """Writes a study from rows (model, weighting, hparams, seed, split, task, metric, value) and reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [{"name": f"t{i}", "kind": kind} for i, kind in enumerate(kinds)]
    content = {"config": {"name": "s", "report": {"baseline": baseline}, **dict(config)}, "tasks": tasks}
    if costs is not None:
        content["costs"] = costs
    (folder / "config.json").write_text(json.dumps(content))
    lines = [HEADER]
    lines += [f"s,d,{m},{w},{h},{seed},{split},{t},{k},{v},1" for m, w, h, seed, split, t, k, v in rows]
    (folder / "results.csv").write_text("\n".join(lines) + "\n")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return read_study(folder)


def runs(model, weighting, values, *, hparams="", split="test", task="t0", metric="auc"):
    """Rows of one method, one per seed."""
    return [
        (model, weighting, hparams, seed, split, task, metric, value) for seed, value in enumerate(values)
    ]


def train_record(model, weighting, seed, step, *, hparams="", **content):
    """A line of `metrics.jsonl`."""
    run = {"study": "s", "dataset": "d", "model": model, "weighting": weighting}
    return {
        **run,
        "hparams": hparams,
        "seed": seed,
        "step": step,
        "kind": "train",
        "loss": {"t0": 1.0},
        "weight": {"t0": 1.0},
        "residual": None,
        **content,
    }
