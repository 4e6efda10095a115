"""MultiMNIST: two overlapping digits of MNIST read by one LeNet, the small benchmark of the MGDA paper.

Command:   python run.py --config=experiments/multimnist.py --manual_dir=<folder with the raw files>
Time:      23 minutes on 2 cores that had other work as well
Data:      MNIST's four IDX files from --manual_dir, or downloaded; training images are divided between train
           and validation before they are paired; each seed divides and pairs anew
Methods:   two convolutions and a layer of 50 units, shared or per task; heads of 50 units; five static
           weights; MGDA at the shared layer (MGDA-UB) and at the parameters; PE-LTR with a floor of 0.3 for
           each task: without floors it is MGDA when there are two tasks
Expected:  test accuracies of 96.4 / 94.9 % (single-task networks), 96.0 / 94.5 (equal weights), 96.1 / 94.5
           (UWL), 96.2 / 94.2 (MGDA at either place): better on the left digit, worse on the right, and no
           weighting beyond the front of static weights
Protocol:  Adam for 5 epochs, no dropout; the step is chosen on validation by the mean of both accuracies.
           The paper trains for 100 epochs with dropout of a half, on all training images, and prints
           97.26 / 95.90 (MGDA-UB), 97.23 / 95.90 (single task), 96.46 / 94.99 (equal weights)

Reference: Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018, Section 5.1.
"""

from ml_collections import config_dict

from mtl.sweep import study_config

FRONT = ((1.8, 0.2), (1.4, 0.6), (0.6, 1.4), (0.2, 1.8))
"""Static weights of left and right besides (1, 1), with the same sum."""

TASKS = ("left", "right")
MARGIN = 0.002
"""Accuracy that counts as no difference."""


def accuracy(model: str, weighting: str, *task: str) -> tuple[str, ...]:
    """Mean test accuracy over seeds, of one digit or averaged over both."""
    return ("mean", model, weighting, "", *task)


def better(first: tuple[str, str], second: tuple[str, str], by: float = 0.0) -> tuple[dict, ...]:
    """On both digits a model's mean accuracy exceeds another's."""
    return tuple(
        {"value": ("minus", accuracy(*first, t), accuracy(*second, t)), "at_least": by} for t in TASKS
    )


EQUAL = ("shared_bottom", "static")
SINGLE = ("single_task", "static")
MGDA_UB = ("shared_bottom", "mgda_tap")
BALANCERS = ("uwl", "mgda_tap", "mgda", "pe_ltr")

CLAIMS = (
    {
        "claim": "MGDA-UB is better than equal weights on both digits.",
        "metric": "accuracy",
        "tests": better(MGDA_UB, EQUAL),
    },
    {
        "claim": "MGDA-UB is better than uncertainty weights on both digits.",
        "metric": "accuracy",
        "tests": better(MGDA_UB, ("shared_bottom", "uwl")),
    },
    {
        "claim": "MGDA-UB is as good as single-task networks on both digits, within 0.002.",
        "metric": "accuracy",
        "tests": better(MGDA_UB, SINGLE, by=-MARGIN),
    },
    {
        "claim": "Equal weights are worse than single-task networks on both digits.",
        "metric": "accuracy",
        "tests": better(SINGLE, EQUAL),
    },
    {
        "claim": "No weighting is better than equal weights by 0.002 in mean accuracy (Kurin et al.).",
        "metric": "accuracy",
        "tests": tuple(
            {"value": ("minus", accuracy("shared_bottom", w), accuracy(*EQUAL)), "at_most": MARGIN}
            for w in BALANCERS
        ),
    },
)
"""What Sener and Koltun's accuracies say, and what Kurin et al. found instead."""


def get_config() -> config_dict.ConfigDict:
    """Shared-Bottom over a LeNet × nine weightings, and single-task networks, × five seeds."""
    return study_config(
        name="multimnist",
        dataset={"name": "multimnist", "num_train": 50_000, "num_val": 10_000, "resample": True},
        models=("single_task", "shared_bottom"),
        model={"encoder": "lenet", "bottom_features": (50,), "tower_features": (50,)},
        weightings=(
            "static",
            *({"name": "static", "weights": weights} for weights in FRONT),
            "uwl",
            {"name": "mgda", "label": "mgda_tap", "tap": True},
            "mgda",
            {"name": "pe_ltr", "label": "pe_ltr", "floors": (0.3, 0.3)},
        ),
        seeds=5,
        train={
            "batch_size": 64,
            "learning_rate": 5e-3,
            "schedule": "cosine",
            "epochs": 5.0,
            "steps_per_call": 71,
            "eval_batch_size": 1000,
        },
        report={"baseline": "single_task", "claims": CLAIMS},
    )
