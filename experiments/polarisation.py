"""Polarisation: do gates end on one expert, does gate dropout cure that, and does it cost accuracy?

Command:   python run.py --config=experiments/polarisation.py
Time:      4 minutes on 2 cores that had other work as well
Data:      MMoE recipe with unrelated tasks (synthetic, nothing to download); every seed draws its own
           function and rows
Methods:   MMoE with 8 experts and PLE with two levels of 2 + 4, without gate dropout and with rates of 0.1
           (the reference's) and 0.3; Adam with the learning rate of the best errors, 1e-2, and one that
           polarises, 3e-2, compared each by itself. At 1e-1 most rows are polarised with and without dropout.
           A row is polarised when one expert has more than 95 % of its weight; a task's share is the mean
           over its gates, on test rows, without dropout.
Expected:  no cure: at 1e-2, where few rows are polarised, a rate of 0.1 lowers MMoE's share (1.4 to 0.6 %)
           and nearly halves its loss; at 3e-2 MMoE's share stays at 8 %, and PLE's rises from 25 to 31 %
           and, with a rate of 0.3, to 35 %

Reference: Zhao et al., "Recommending What Video to Watch Next: A Multitask Ranking System", RecSys 2019:
without dropout gates polarised in 20 % of their trainings, and a rate of 10 % cured them.
"""

from ml_collections import config_dict

from mtl.sweep import study_config

LEARNING_RATES = (1e-2, 3e-2)
RATES = (0.1, 0.3)
MODELS = {"mmoe": {"num_experts": 8}, "ple": {"num_levels": 2, "task_experts": 2, "shared_experts": 4}}


def label(model: str, rate: float) -> str:
    """The name of a model with a rate of gate dropout."""
    return f"{model}, dropout {rate:g}" if rate else model


def cell(model: str, rate: float, learning_rate: float) -> tuple[str, ...]:
    """The mean over seeds and tasks of a model at a learning rate."""
    return ("mean", label(model, rate), "static", f"learning_rate={learning_rate}")


def rise(model: str, rate: float, learning_rate: float) -> tuple:
    """How much higher a mean is with dropout than without."""
    return ("minus", cell(model, rate, learning_rate), cell(model, 0.0, learning_rate))


def ratio(model: str, rate: float, learning_rate: float) -> tuple:
    """How many times as high it is."""
    return ("over", cell(model, rate, learning_rate), cell(model, 0.0, learning_rate))


EACH = tuple((m, r) for m in MODELS for r in LEARNING_RATES)
HIGH = tuple((m, LEARNING_RATES[-1]) for m in MODELS)

CLAIMS = (
    {
        "claim": "Without dropout gates polarise at the high learning rate: on at least 5 % of the rows.",
        "metric": "gate_polarised",
        "tests": tuple({"value": cell(m, 0.0, r), "at_least": 0.05} for m, r in HIGH),
    },
    *(
        {
            "claim": f"A rate of {rate:g} lowers the polarised share at either learning rate.",
            "metric": "gate_polarised",
            "tests": tuple({"value": rise(m, rate, r), "at_most": 0.0} for m, r in EACH),
        }
        for rate in RATES
    ),
    {
        "claim": "A rate of 0.1 cures: at most 1 % of the rows stay polarised.",
        "metric": "gate_polarised",
        "tests": tuple({"value": cell(m, 0.1, r), "at_most": 0.01} for m, r in EACH),
    },
    {
        "claim": "A rate of 0.1 spreads weight over more experts: the gates' entropy rises.",
        "metric": "gate_entropy",
        "tests": tuple({"value": rise(m, 0.1, r), "at_least": 0.0} for m, r in EACH),
    },
    *(
        {
            "claim": f"A rate of {rate:g} costs no accuracy: the loss is at most 5 % higher.",
            "metric": "mse",
            "tests": tuple({"value": ratio(m, rate, r), "at_most": 1.05} for m, r in EACH),
        }
        for rate in RATES
    ),
)
"""What the reference found, with the bounds that its words leave open."""


def get_config() -> config_dict.ConfigDict:
    """Two structures × three rates of dropout × two learning rates × 30 seeds."""
    return study_config(
        name="polarisation",
        dataset={
            "name": "mmoe_synthetic",
            "correlation": 0.0,
            "num_tasks": 2,
            "dim": 100,
            "num_train": 10_000,
            "num_val": 1_000,
            "num_test": 2_000,
            "resample": True,
        },
        models=tuple(
            {"name": m, "label": label(m, rate), "dropout_rate": rate, **arguments}
            for m, arguments in MODELS.items()
            for rate in (0.0, *RATES)
        ),
        model={"expert_features": (16,), "tower_features": (8,)},
        weightings=("static",),
        seeds=30,
        train={
            "batch_size": 128,
            "steps": 1_600,
            "steps_per_call": 400,
            "eval_every": 400,
        },
        sweep={"train": {"learning_rate": LEARNING_RATES}},
        report={"baseline": "", "claims": CLAIMS, "conditions": ("learning_rate",)},
    )
