"""Census-Income (KDD): income over 50K and never married, the public benchmark of MMoE and PLE.

Command:   python run.py --config=experiments/census.py --manual_dir=<folder with the raw files>
           the published comparison alone: --config.weightings="('static',)"
Time:      the published comparison 9 minutes on 2 cores; the whole study about four times that
Data:      census-income.data.gz and census-income.test.gz from --manual_dir, or downloaded; prepared once
Methods:   all sharing structures with one-layer experts of 16 units (PLE has two levels), towers of 32;
           PE-LTR has a floor of 0.3 for each task: without floors it is MGDA when there are two tasks
Expected:  with static weights mean test AUCs of 0.9459 to 0.9465 (income) and 0.9946 to 0.9947 (never
           married), no structure better than single-task networks; MMoE's paper has 0.9359 / 0.9927, PLE's
           0.9522 / 0.9945, gradient-boosted trees 0.9535 / 0.9947 (`benchmarks/census_trees.py`)
Protocol:  education and marital status are no inputs; the test part is split 1:1 into validation and test;
           six epochs of Adam with a cosine schedule; the step, and the learning rate of 2e-3, 6e-3, 2e-2 for
           every method, are chosen on validation by the mean of both AUCs, so that all methods have one
           budget; a seed draws the initial parameters and the order of the rows
"""

from ml_collections import config_dict

from mtl.sweep import study_config


def get_config() -> config_dict.ConfigDict:
    """Six sharing structures × four weightings × three learning rates × ten seeds."""
    return study_config(
        name="census",
        dataset={
            "name": "census",
            "tasks": ("income", "never_married"),
            "numeric": "both",
            "num_buckets": 50,
        },
        models=("single_task", "shared_bottom", "omoe", "mmoe", "cgc", "ple"),
        model={
            "embedding_dim": 8,
            "expert_features": (16,),
            "bottom_features": (128,),
            "tower_features": (32,),
        },
        weightings=("static", "uwl", "mgda", {"name": "pe_ltr", "label": "pe_ltr", "floors": (0.3, 0.3)}),
        seeds=10,
        train={
            "batch_size": 2048,
            "schedule": "cosine",
            "epochs": 6.0,
            "steps_per_call": 97,
        },
        sweep={"train": {"learning_rate": (2e-3, 6e-3, 2e-2)}},
        report={"baseline": "single_task", "reference": "census_income"},
    )
