"""Quickstart: which sharing structure and which weighting, on tasks of known correlation?

Command:   python run.py
Time:      about 60 s on 2 cores
Data:      MMoE recipe (synthetic, nothing to download); seeds draw new rows of one function
Methods:   PE-LTR has a floor of 0.3 for each task: without floors it is MGDA when there are two tasks
Expected:  PLE and DBMTL-2, which have a hidden layer more than the others, have the lowest errors; with three
           seeds few differences from single-task models are beyond doubt, and the verdicts say which
"""

from ml_collections import config_dict

from mtl.sweep import study_config


def get_config() -> config_dict.ConfigDict:
    """Correlation 0.5, 0.9, 1 × five sharing structures × four weightings × three seeds."""
    return study_config(
        name="quickstart",
        dataset={
            "name": "mmoe_synthetic",
            "correlation": 0.5,
            "num_tasks": 2,
            "dim": 100,
            "num_train": 10_000,
            "num_val": 2_000,
            "num_test": 2_000,
            "function_seed": 0,
            "resample": True,
        },
        models=("single_task", "shared_bottom", "omoe", "mmoe", "ple", "dbmtl2"),
        weightings=(
            "static",
            {"name": "uwl", "label": "uwl", "learning_rate": 0.01},
            "mgda",
            {"name": "pe_ltr", "label": "pe_ltr", "floors": (0.3, 0.3)},
        ),
        seeds=3,
        train={
            "batch_size": 256,
            "learning_rate": 3e-3,
            "steps": 300,
            "eval_every": 50,
            "share_programs": True,  # runs are short: most of the time would go into compiling
        },
        sweep={"dataset": {"correlation": (0.5, 0.9, 1.0)}},
    )
