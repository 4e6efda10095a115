"""MultiDigits: two overlapping handwritten digits, read by one network. Real data, nothing to download.

Command:   python run.py --config=experiments/digits.py
Time:      about 95 s on 2 cores
Data:      UCI digits as bundled in scikit-learn; images are split before they are paired; each seed splits
           and pairs anew
Methods:   PE-LTR has a floor of 0.3 for each task: without floors it is MGDA when there are two tasks
Expected:  accuracies of 0.956 to 0.967 everywhere; neither sharing nor a weighting is shown to beat
           single-task models
"""

from ml_collections import config_dict

from mtl.sweep import study_config


def get_config() -> config_dict.ConfigDict:
    """Four sharing structures × four weightings × five seeds."""
    return study_config(
        name="digits",
        dataset={
            "name": "digits",
            "num_train": 10_000,
            "num_val": 2_000,
            "num_test": 2_000,
            "resample": True,
        },
        models=("single_task", "shared_bottom", "mmoe", "ple"),
        model={"expert_features": (64,), "tower_features": (32,), "bottom_features": (256,)},
        weightings=("static", "uwl", "mgda", {"name": "pe_ltr", "label": "pe_ltr", "floors": (0.3, 0.3)}),
        seeds=5,
        train={"batch_size": 256, "learning_rate": 2e-3, "steps": 780, "eval_every": 78},
    )
