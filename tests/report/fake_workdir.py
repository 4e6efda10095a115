"""A small study's result files, as a study would leave them, with known effects."""

import csv
import json
from pathlib import Path

import numpy as np

TASKS = (
    {"name": "click", "kind": "binary", "num_classes": 2, "parents": []},
    {"name": "minutes", "kind": "regression", "num_classes": 2, "parents": ["click"]},
)
MODELS = ("single_task", "shared_bottom", "mmoe", "ple")
WEIGHTINGS = ("static", "uwl", "mgda")
HPARAMS = ("correlation=0.5", "correlation=0.9")
# Gain over single-task on the two tasks, in units of the metric, positive = better.
EFFECT = {
    "shared_bottom": (-0.010, 0.06),
    "mmoe": (0.004, 0.03),
    "ple": (0.008, 0.05),
}
STEPS = range(0, 1001, 50)
METRICS = {"binary": ("auc", "logloss", "accuracy"), "regression": ("rmse", "mae")}
LEVELS = {"auc": 0.80, "logloss": 0.40, "accuracy": 0.85, "rmse": 1.20, "mae": 0.90}


def make_workdir(
    folder: Path,
    *,
    tasks=TASKS,
    models=MODELS,
    weightings=WEIGHTINGS,
    hparams=HPARAMS,
    seeds=4,
    gates=True,
    baseline="single_task",
    reference="",
    name="fake study",
) -> Path:
    """Writes config.json, results.csv and metrics.jsonl; single_task has static weights only."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "name": name,
        "dataset": {"name": "synthetic"},
        "models": list(models),
        "weightings": list(weightings),
        "seeds": seeds,
        "train": {"batch_size": 256, "steps": 1000},
        "sweep": {"dataset.correlation": [0.5, 0.9]},
        "report": {"baseline": baseline, "reference": reference},
    }
    provenance = {
        "packages": {"jax": "0.10.0"},
        "device": "cpu × 2",
        "git": "abc1234",
        "datasets": [{"name": "synthetic", "label_pearson": 0.31}],
    }
    (folder / "config.json").write_text(
        json.dumps({"config": config, "provenance": provenance, "tasks": list(tasks)}, indent=2)
    )
    results, records = [], []
    for point in hparams:
        for model in models:
            for weighting in weightings if model != "single_task" else weightings[:1]:
                for seed in range(seeds):
                    run = {
                        "study": name,
                        "dataset": "synthetic",
                        "model": model,
                        "weighting": weighting,
                        "hparams": point,
                        "seed": seed,
                    }
                    results += _results(run, tasks)
                    records += _records(run, tasks, gates)
    with (folder / "results.csv").open("w", newline="") as file:
        keys = "study,dataset,model,weighting,hparams,seed,split,task,metric,value,step"
        writer = csv.DictWriter(file, keys.split(","), lineterminator="\n")
        writer.writeheader()
        writer.writerows(results)
    lines = (json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder


def _results(run, tasks):
    # The same seed draws the same difficulty for every method: that is what pairing removes.
    shared = np.random.default_rng(run["seed"]).normal(size=len(tasks))
    names = run["model"] + run["weighting"] + run["hparams"]
    own = np.random.default_rng([run["seed"], *map(ord, names)])
    effect = EFFECT.get(run["model"], (0.0, 0.0))
    if run["weighting"] == "uwl":
        effect = (effect[0] - 0.002, effect[1] + 0.01)
    if run["hparams"] == "correlation=0.9":
        effect = (0.5 * effect[0], 0.2 * effect[1])
    for split in ("val", "test"):
        for t, task in enumerate(tasks):
            for metric in METRICS[task["kind"]]:
                level = LEVELS[metric]
                gain = effect[t % 2] * (1 if metric in ("auc", "accuracy") else -1)
                noise = 0.01 * shared[t] + 0.0012 * own.normal()
                yield {
                    **run,
                    "split": split,
                    "task": task["name"],
                    "metric": metric,
                    "value": f"{level + gain + level * noise:.6f}",
                    "step": 800,
                }


def _records(run, tasks, gates):
    levels = {"mmoe": ("gate",), "ple": ("level1/task_gate", "level1/shared_gate")}.get(run["model"], ())
    levels = levels if gates else ()
    rng = np.random.default_rng([run["seed"], 7, *map(ord, run["model"] + run["weighting"])])
    names = [task["name"] for task in tasks]
    for step in STEPS:
        loss = {n: 0.4 + (0.5 + t) * np.exp(-step / 200) + 0.01 * rng.normal() for t, n in enumerate(names)}
        weight = {n: 1 / len(names) for n in names}
        if run["weighting"] == "uwl":
            weight = {n: 1 + t * (1 - np.exp(-step / 300)) for t, n in enumerate(names)}
        if run["weighting"] == "mgda":
            draw = rng.dirichlet(np.full(len(names), 8.0))
            weight = dict(zip(names, draw))
        residual = 1e-7 if run["weighting"] == "mgda" else None
        head = {**run, "step": step}
        yield {**head, "kind": "train", "loss": loss, "weight": weight, "residual": residual}
        described = {n: _gate(rng, tasks, n) for n in levels}
        kept = {n: {k: gate[k] for k in ("entropy", "polarised")} for n, gate in described.items()}
        yield {**head, "kind": "val", "metrics": {n: {"loss": loss[n]} for n in names}, "gates": kept}
    if levels:
        yield {**run, "step": 800, "kind": "gates", "gates": {n: _gate(rng, tasks, n) for n in levels}}


def _gate(rng, tasks, name):
    rows = 1 if name.endswith("shared_gate") else len(tasks)
    mean = rng.dirichlet(np.full(4, 5.0), size=rows)
    entropy = -(mean * np.log(mean)).sum(axis=1)
    return {
        "entropy": entropy.tolist(),
        "utilisation": mean.tolist(),
        "utilisation_sd": (0.2 * mean).tolist(),
        "polarised": [0.0] * rows,
    }
