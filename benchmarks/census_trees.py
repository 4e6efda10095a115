"""What gradient-boosted trees reach on Census-Income: how much the inputs hold that the networks do not use.

    python -m benchmarks.census_trees --manual_dir=<folder with the raw files>    # two minutes on 2 cores

One classifier of scikit-learn per task, on the inputs and the splits of `experiments/census.py`: categories
as such, quantities as numbers. Nothing is tuned, so validation is as good a judge as test.
"""

import numpy as np
from absl import app, flags
from sklearn.ensemble import HistGradientBoostingClassifier

from mtl.data import census_income
from mtl.metrics import auc

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "data_dir", None, "Where prepared data sets live; default: MTL_DATA_DIR, else ~/.cache/mtl."
)
flags.DEFINE_string("manual_dir", None, "Where raw files lie; default: MTL_MANUAL_DIR.")
flags.DEFINE_integer("trees", 400, "Trees per classifier.")


def main(argv: list[str]) -> None:
    """Fits both classifiers and prints their AUCs."""
    del argv
    folders = {"data_dir": FLAGS.data_dir, "manual_dir": FLAGS.manual_dir}
    data = census_income(("income", "never_married"), numeric="standard", **folders)
    inputs = {name: np.concatenate([s["numeric"], s["ids"]], axis=1) for name, s in data.splits.items()}
    quantities = data.splits["train"]["numeric"].shape[1]
    categorical = np.arange(inputs["train"].shape[1]) >= quantities
    print(f"{'task':<14} {'validation':>10} {'test':>7}   AUC")
    for t, task in enumerate(data.schema.tasks):
        trees = HistGradientBoostingClassifier(
            categorical_features=categorical,
            max_iter=FLAGS.trees,
            learning_rate=0.06,
            early_stopping=False,
            random_state=0,
        )
        trees.fit(inputs["train"], data.splits["train"]["labels"][:, t])
        found = [
            auc(trees.decision_function(inputs[split]), data.splits[split]["labels"][:, t])
            for split in ("val", "test")
        ]
        print(f"{task.name:<14} {found[0]:>10.4f} {found[1]:>7.4f}", flush=True)


if __name__ == "__main__":
    app.run(main)
