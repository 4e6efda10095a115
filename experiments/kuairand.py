"""KuaiRand: what users do with short videos, and for how long, across transfers and weightings.

Command:   python run.py --config=experiments/kuairand.py --manual_dir=<folder with its files>
Time:      12 minutes on 2 cores that had other work as well
Data:      the sample of 41,712 impressions with a like or a hate, whose rates are not those of traffic; the
           first 33,370 train. No event requires another; every task has the click as parent
Methods:   transfers on one shared bottom of 64 units with towers of 16, PLE and single-task networks; four
           weightings; play time by the squared error of its logarithm; five passes of Adam; the learning
           rate of 3e-3, 1e-2, 3e-2 and the step with the best mean AUC of the binary tasks on validation
Expected:  no model is shown to be better than single-task networks over all tasks: comment loses by
           sharing, follow gains with PLE × AIT, a transfer is not shown to help long view, and UWL beats
           equal weights on like with AITM; most other differences are smaller than ten seeds can tell

Reference: Gao et al., KuaiRand, CIKM 2022, for the data.
"""

from ml_collections import config_dict

from mtl.sweep import study_config

TASKS = ("click", "long_view", "like", "follow", "comment")
MODELS = ("shared_bottom", "aitm", "dbmtl1", "feed_output", "ple", "ple_ait")
BALANCERS = ("uwl", "mgda", "pcgrad")
MARGIN = 0.005
"""AUC that counts as a difference in practice; intervals of the rare tasks are wider."""


def auc(model: str, weighting: str, *task: str) -> tuple[str, ...]:
    """Mean test AUC over seeds, of one task or averaged over the binary ones."""
    return ("mean", model, weighting, "", *task)


CLAIMS = (
    {
        "claim": "Sharing helps rare tasks: follow and comment have a higher AUC than alone.",
        "metric": "auc",
        "tests": tuple(
            {"value": ("minus", auc(m, "static", t), auc("single_task", "static", t)), "at_least": 0.0}
            for m in MODELS
            for t in ("follow", "comment")
        ),
    },
    {
        "claim": "A transfer helps what follows a click: long view has a higher AUC than without it.",
        "metric": "auc",
        "tests": tuple(
            {
                "value": (
                    "minus",
                    auc(m, "static", "long_view"),
                    auc("shared_bottom", "static", "long_view"),
                ),
                "at_least": 0.0,
            }
            for m in ("aitm", "dbmtl1", "feed_output")
        ),
    },
    {
        "claim": "No weighting beats equal weights by 0.005 AUC on any of the three frequent tasks.",
        "metric": "auc",
        "tests": tuple(
            {"value": ("minus", auc(m, w, t), auc(m, "static", t)), "at_most": MARGIN}
            for m in ("shared_bottom", "aitm", "ple")
            for w in BALANCERS
            for t in ("click", "long_view", "like")
        ),
    },
)


def get_config() -> config_dict.ConfigDict:
    """Six structures and single tasks × four weightings × three learning rates × ten seeds."""
    return study_config(
        name="kuairand",
        dataset={"name": "kuairand", "tasks": (*TASKS, "play_time"), "losses": {"play_time": "squared_log"}},
        models=MODELS,
        model={
            "bottom_features": (64,),
            "expert_features": (16,),
            "tower_features": (16,),
            "embedding_dim": 8,
        },
        weightings=("static", *BALANCERS),
        seeds=10,
        train={"batch_size": 512, "epochs": 5.0, "select": "auc"},
        sweep={"train": {"learning_rate": (3e-3, 1e-2, 3e-2)}},
        report={"baseline": "single_task", "claims": CLAIMS},
    )
