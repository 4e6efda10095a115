"""Two objectives with a known Pareto front: which weightings reach it, from where, and where on it?

Command:   python run.py --config=experiments/toy2d.py
Time:      about 60 s on 2 cores
Data:      the problem of CAGrad with Nash-MTL's scale and starts; nothing to download. A seed is the index of
           a start. 100,000 steps as CAGrad took: after Nash-MTL's 35,000 some methods are still on their way
Methods:   all. The losses are deterministic: methods of several batches see one batch several times, and
           methods that draw numbers use the key of the start. Methods that look at losses see them above
           their lower bound, as in FAMO's code, since they take logarithms or ratios; an epoch is 1/500 of
           the run. FAMO has no decay, as in its published run; PE-LTR has a floor of 0.3 for each task
Expected:  equal weights miss the front from (9, 9) and end near l2's best, where the scale of l1 puts them;
           Nash-MTL, FairGrad, IMTL-G, ConFIG, DB-MTL, GradNorm, FAMO and others reach it from every start and
           end between both; methods that follow log-losses or their ratios miss it from two starts
"""

from ml_collections import config_dict

from mtl.sweep import study_config


def get_config() -> config_dict.ConfigDict:
    """All weightings from the five starts of Nash-MTL."""
    return study_config(
        name="toy2d",
        dataset={"name": "toy2d", "scale": 0.1},
        models=("point",),
        weightings=(
            "ew",
            {"name": "static", "label": "static 10:1", "weights": (10.0, 1.0)},
            *("alternating", "uwl", "gls", "si", "dwa", "rlw", "imtl_l"),
            {"name": "famo", "label": "famo", "decay": 0.0},
            *("stch", "go4align", "slaw", "group_dro", "loss_norm"),
            "mgda",
            {"name": "pe_ltr", "label": "pe_ltr", "floors": (0.3, 0.3)},
            *("imtl_g", "config", "gradnorm", "pcgrad", "gradvac", "cagrad", "nash_mtl", "fairgrad"),
            *("aligned_mtl", "upgrad", "dual_proj", "pcd", "ntkmtl"),
            *("db_mtl", "moco", "modo", "sdmgrad", "excess_mtl", "graddrop"),
        ),
        seeds=5,
        train={"steps": 100_000, "learning_rate": 1e-3},
        report={"baseline": ""},
    )
