"""Census-Income (KDD): income over 50K and never married, the public benchmark of MMoE and PLE."""

from ml_collections import config_dict

from mtl.sweep import study_config

EXPERTS = {"embedding_dim": 8, "expert_features": (64,), "tower_features": (32,)}


def get_config() -> config_dict.ConfigDict:
    return study_config(
        name="census",
        dataset={"name": "census", "tasks": ("income", "never_married"), "numeric": "both", "num_buckets": 10},
        models=(
            {"name": "mmoe", "label": "mmoe", "num_experts": 8, **EXPERTS},
        ),
        weightings=("static",),
        seeds=3,
        train={"batch_size": 2048, "learning_rate": 1e-3, "epochs": 6.0, "steps_per_call": 97},
        report={"baseline": "", "reference": "census_income"},
    )
