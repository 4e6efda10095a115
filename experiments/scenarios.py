"""Scenarios: one model for all, one for each, or a model that has both, over how alike the scenarios are.

Command:   python run.py --config=experiments/scenarios.py
Time:      14 minutes of computing on 2 cores that had other work as well
Data:      four scenarios of 20,000 training rows in all, each half as large as the one before; their
           functions have the cosine `similarity`; synthetic, nothing to download; every seed draws its own
           world
Methods:   `shared_bottom` (one network for all), `separate` (a network per scenario), `star`, and `dbmtl3`
           with its Bayesian transfer and without; bottoms of 64 units, towers of 16; twelve passes of Adam;
           the learning rate of 3e-4 to 3e-2 (five) and the step with the best log loss on validation
Measured:  log loss, and the mean error of the probabilities against the true ones, over all rows: the
           largest scenario has eight times as many as the smallest
Expected:  STAR is the best or within the interval of it at every similarity. Separate networks are better
           than a joint one up to a similarity of 0.5, and worse at 1; DBMTL-3 is better than the worse of
           the two and close to the better one everywhere but at 1. Without the Bayesian transfer DBMTL-3's
           experts are within 0.003 of STAR

Reference: Sheng et al., STAR, CIKM 2021; Wang et al., DBMTL, 2019. Their data are not public and have no
knob.
"""

from ml_collections import config_dict

from mtl.sweep import study_config

SIMILARITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
BOTH = ("star", "dbmtl3")


def error(model: str, similarity: float) -> tuple[str, ...]:
    """Mean log loss of a model at a similarity."""
    return ("mean", model, "static", f"similarity={similarity}")


def no_worse(model: str) -> tuple[dict, ...]:
    """A model's log loss is no higher than the joint model's and no higher than the separate one's."""
    return tuple(
        {"value": ("minus", error(other, s), error(model, s)), "at_least": 0.0}
        for s in SIMILARITIES
        for other in ("shared_bottom", "separate")
    )


CLAIMS = (
    *(
        {
            "claim": f"{name} is never worse than both the joint and the separate model.",
            "metric": "logloss",
            "tests": tuple(
                {
                    "value": (
                        "minus",
                        ("max", error("shared_bottom", s), error("separate", s)),
                        error(model, s),
                    ),
                    "at_least": 0.0,
                }
                for s in SIMILARITIES
            ),
        }
        for model, name in zip(BOTH, ("STAR", "DBMTL-3"), strict=True)
    ),
    *(
        {
            "claim": f"{name} is no worse than the better of the two, over the whole knob.",
            "metric": "logloss",
            "tests": no_worse(model),
        }
        for model, name in zip(BOTH, ("STAR", "DBMTL-3"), strict=True)
    ),
    {
        "claim": "Separate networks beat a joint one where scenarios are unrelated, and not where they are "
        "alike.",
        "metric": "logloss",
        "tests": (
            {"value": ("minus", error("shared_bottom", 0.0), error("separate", 0.0)), "at_least": 0.0},
            {"value": ("minus", error("separate", 1.0), error("shared_bottom", 1.0)), "at_least": 0.0},
        ),
    },
)


def get_config() -> config_dict.ConfigDict:
    """Five models × five similarities × five learning rates × twenty seeds."""
    return study_config(
        name="scenarios",
        dataset={
            "name": "scenario_synthetic",
            "similarity": 0.5,
            "shift": 0.0,
            "num_scenarios": 4,
            "num_train": 20_000,
            "num_val": 10_000,
            "num_test": 20_000,
            "resample": True,
        },
        models=(
            "shared_bottom",
            {"name": "separate_domains", "label": "separate", "bottom_features": (64, 16)},
            {"name": "star", "star_features": (64,), "label": "star"},
            {"name": "dbmtl3", "label": "dbmtl3_independent", "transfer": "independent"},
            "dbmtl3",
        ),
        model={"embedding_dim": 4, "bottom_features": (64,), "tower_features": (16,)},
        weightings=("static",),
        seeds=20,
        train={"batch_size": 512, "epochs": 12.0, "select": "logloss"},
        sweep={
            "dataset": {"similarity": SIMILARITIES},
            "train": {"learning_rate": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)},
        },
        report={"baseline": "shared_bottom", "claims": CLAIMS},
    )
