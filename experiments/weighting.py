"""Every weighting where losses differ in scale and tasks conflict, against tuned static weights.

Command:   python run.py --config=experiments/weighting.py
Time:      16 minutes on 2 cores that had other work as well
Data:      MMoE recipe (synthetic, nothing to download), tasks that agree (correlation 0.9) or conflict
           (−0.9); labels are scaled so that the second loss is 1, 30 or 1000 times the first; every seed
           draws its own function and rows
Methods:   Shared-Bottom with 16 shared units, which two tasks have to divide between them; nine static
           weights as the front, all other weightings with their default arguments; single-task networks of
           the same size per task; Adam with the learning rate of 1e-2, 3e-2, 1e-1 that has the best
           validation R² per method and condition. All methods see as many examples, so that methods that
           read several batches per update make fewer
Expected:  at equal scales no weighting is better than equal weights by 0.01 in R²; at 1:1000 loss
           normalisation, FairGrad, Nash-MTL, SI, NTKMTL, ConFIG and CAGrad beat the best static weights by
           0.02 to 0.05, and equal weights lose 0.07 to 0.09 to these

References: Kurin et al., "In Defense of the Unitary Scalarization for Deep Multi-Task Learning", and Xin et
al., "Do Current Multi-Task Optimization Methods in Deep Learning Even Help?", both NeurIPS 2022.
"""

from ml_collections import config_dict

from mtl.sweep import study_config

CORRELATIONS = (0.9, -0.9)
SCALES = ((0.4, 0.4), (0.171, 0.936), (0.0711, 2.25))
"""Factors of the labels; their squares, the losses' factors, are 1, 30 and 1000 times apart."""

RATIOS = (0.25, 4.0, 7.5, 30.0, 120.0, 250.0, 1000.0, 4000.0)
"""First weight over second of the static front, besides 1: around what cancels each pair of scales."""

BALANCERS = (
    *(
        "uwl",
        "gls",
        "si",
        "dwa",
        "rlw",
        "imtl_l",
        "famo",
        "stch",
        "go4align",
        "slaw",
        "group_dro",
        "loss_norm",
    ),
    "mgda",
    "pe_ltr",
    *("imtl_g", "config", "gradnorm", "pcgrad", "gradvac", "cagrad", "nash_mtl", "fairgrad"),
    *("aligned_mtl", "upgrad", "dual_proj", "pcd", "ntkmtl"),
    *("db_mtl", "moco", "modo", "sdmgrad", "excess_mtl", "graddrop"),
)
"""All weightings but `static`, `ew`, which is `static` with weights of one, and `alternating`."""

SCALE_FREE = ("imtl_l", "gls", "si", "nash_mtl", "imtl_g", "config", "aligned_mtl", "db_mtl")
"""Those of them that do not change by construction, or barely, when a loss is multiplied by a constant."""

MARGIN = 0.01
"""R² that counts as no difference."""


def front(ratio: float) -> dict:
    """A point of the static front: weights of sum 2 in the given ratio."""
    return {
        "name": "static",
        "label": f"static {ratio:g}:1",
        "weights": (2 * ratio / (1 + ratio), 2 / (1 + ratio)),
    }


def condition(correlation: float, scales: tuple[float, float]) -> str:
    """The name of a condition in `results.csv`."""
    return f"correlation={correlation};label_scales=({scales[0]},{scales[1]})"


def r2(weighting: str, correlation: float, scales: tuple[float, float], *task: str) -> tuple[str, ...]:
    """Mean over seeds of R², of one task or averaged over tasks."""
    return ("mean", "shared_bottom", weighting, condition(correlation, scales), *task)


def best_static(correlation: float, scales: tuple[float, float]) -> tuple:
    """The highest mean R² of the static front; picked on the test split, which favours it slightly."""
    best: tuple = r2("static", correlation, scales)
    for ratio in RATIOS:
        best = ("max", best, r2(front(ratio)["label"], correlation, scales))
    return best


CONDITIONS = tuple((p, s) for p in CORRELATIONS for s in SCALES)

CLAIMS = (
    {
        "claim": "No weighting is better than the best static weights, by more than 0.01 in mean R².",
        "metric": "r2",
        "tests": tuple(
            {"value": ("minus", r2(name, *c), best_static(*c)), "at_most": MARGIN}
            for name in BALANCERS
            for c in CONDITIONS
        ),
    },
    {
        "claim": "With losses 1:1000 apart, equal weights are at least 0.01 worse than the best static ones.",
        "metric": "r2",
        "tests": tuple(
            {
                "value": ("minus", best_static(p, SCALES[-1]), r2("static", p, SCALES[-1])),
                "at_least": MARGIN,
            }
            for p in CORRELATIONS
        ),
    },
    {
        "claim": "Scale-free weightings are no worse when losses are 1:1000 apart, within 0.01 in mean R².",
        "metric": "r2",
        "tests": tuple(
            {
                "value": ("minus", r2(name, p, SCALES[0]), r2(name, p, SCALES[-1])),
                "between": (-MARGIN, MARGIN),
            }
            for name in SCALE_FREE
            for p in CORRELATIONS
        ),
    },
    {
        "claim": "With losses 1:1000 apart, MGDA serves the task with the smaller loss better.",
        "metric": "r2",
        "tests": tuple(
            {
                "value": ("minus", r2("mgda", p, SCALES[-1], "task_1"), r2("mgda", p, SCALES[-1], "task_2")),
                "at_least": 0.0,
            }
            for p in CORRELATIONS
        ),
    },
    {
        "claim": "With conflicting tasks of equal scale, no weighting is better than equal weights by 0.01.",
        "metric": "r2",
        "tests": tuple(
            {"value": ("minus", r2(name, -0.9, SCALES[0]), r2("static", -0.9, SCALES[0])), "at_most": MARGIN}
            for name in BALANCERS
        ),
    },
)
"""What the two papers found, and what the methods' definitions promise."""


def get_config() -> config_dict.ConfigDict:
    """Shared-Bottom × 42 weightings, and single-task networks, × six conditions × three rates × 20 seeds."""
    return study_config(
        name="weighting",
        dataset={
            "name": "mmoe_synthetic",
            "correlation": 0.9,
            "num_tasks": 2,
            "dim": 50,
            "num_train": 10_000,
            "num_val": 1_000,
            "num_test": 4_000,
            "label_scales": SCALES[0],
            "resample": True,
        },
        models=("single_task", "shared_bottom"),
        model={"bottom_features": (16,), "tower_features": (8,)},
        weightings=(
            "static",
            *map(front, RATIOS),
            *BALANCERS[:13],
            {"name": "pe_ltr", "label": "pe_ltr", "floors": (0.3, 0.3)},
            *BALANCERS[14:],
        ),
        seeds=20,
        train={
            "batch_size": 128,
            "schedule": "cosine",
            "steps": 2_000,
            "steps_per_call": 200,
            "eval_every": 200,
            "select": "r2",
        },
        sweep={
            "dataset": {"correlation": CORRELATIONS, "label_scales": SCALES},
            "train": {"learning_rate": (1e-2, 3e-2, 1e-1)},
        },
        report={"baseline": "single_task", "claims": CLAIMS},
    )
