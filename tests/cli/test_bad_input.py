"""Every mistake: one line that starts with `mtl: `, exit code 2, and nothing left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


# ---- flags and overrides ------------------------------------------------------------------------------

OVERRIDES = {
    "unknown flag": ("--wrkdir=x", "unknown flag '--wrkdir' (did you mean '--workdir'?)"),
    "positional argument": ("census", "unexpected argument 'census'; all arguments are flags"),
    "flag of wrong type": ("--resume=perhaps", "--resume=perhaps"),
    "flag without value": ("--manual_dir", "--manual_dir"),
    "one process flag": (
        "--process_id=1",
        "--coordinator, --num_processes, --process_id go together: give all or none",
    ),
    "fraction for a process": ("--process_id=0.5", "--process_id=0.5"),
    "unknown key": ("--config.seed=1", "unknown key in config: 'seed' (did you mean 'seeds'?)"),
    "unknown nested key": (
        "--config.train.lr=1",
        "unknown key in config.train: 'lr'; expected one of: batch_size,",
    ),
    "key below a number": ("--config.seeds.first=1", "config.seeds is 1 and has no key 'first'"),
    "section as a number": ("--config.train=3", "config.train is '3', expected a dict"),
    "word for a count": ("--config.seeds=abc", "config.seeds is 'abc', expected int, such as"),
    "fraction for a count": ("--config.seeds=1.5", "config.seeds is '1.5', expected int, such as"),
    "word for a number": (
        "--config.train.learning_rate=fast",
        "config.train.learning_rate is 'fast', expected float, such as",
    ),
    "broken tuple": ("--config.models=('mmoe',", "config.models is \"('mmoe',\", expected tuple"),
    "no seeds": ("--config.seeds=0", "config.seeds is 0, expected a count of at least 1"),
    "number for a model": ("--config.models=7", "config.models[0] is 7, expected a name"),
    "name with a slash": ("--config.name=../up", "config.name is '../up', expected a name without '/'"),
    "unknown model": ("--config.models=mmo", "unknown model 'mmo' (did you mean 'mmoe'?)"),
    "unknown weighting": ("--config.weightings=mdga", "unknown weighting 'mdga' (did you mean 'mgda'?)"),
    "unknown data set": (
        "--config.dataset.name=sensus",
        "unknown data set 'sensus' (did you mean 'census'?)",
    ),
    "no rows": ("--config.dataset.num_train=0", "num_train is 0, expected an integer >= 2"),
    "unknown baseline": ("--config.report.baseline=single", "unknown model 'single'"),
    "unknown reference": ("--config.report.reference=censis", "unknown published table 'censis'"),
    "batch of no rows": ("--config.train.batch_size=0", "train.batch_size is 0, expected at least 1"),
    "batch above the data": (
        "--config.train.batch_size=65",
        "train.batch_size is 65, but the training split has only 64 rows",
    ),
    "no learning rate": ("--config.train.learning_rate=0", "train.learning_rate is 0.0, expected above 0"),
    "nan learning rate": ("--config.train.learning_rate=nan", "train.learning_rate is nan, expected above 0"),
    "negative clip": ("--config.train.clip_norm=-1", "train.clip_norm is -1.0, expected at least 0"),
    "decay without adamw": (
        "--config.train.weight_decay=0.1",
        "train.weight_decay is 0.1, which only train.optimizer='adamw' uses",
    ),
    "unknown optimizer": ("--config.train.optimizer=adamm", "unknown train.optimizer 'adamm'"),
    "unknown schedule": ("--config.train.schedule=step", "unknown train.schedule 'step'"),
    "unknown dtype": ("--config.train.dtype=float16", "unknown train.dtype 'float16'"),
    "unknown selection": (
        "--config.train.select=task_9",
        "unknown train.select 'task_9' (did you mean 'task_2'?)",
    ),
}


@pytest.mark.parametrize("argument, expected", OVERRIDES.values(), ids=OVERRIDES)
def test_a_wrong_argument(refused, write_study, argument, expected):
    assert expected in refused(f"--config={write_study()}", argument)


# ---- values in a study's file -------------------------------------------------------------------------

STUDIES = {
    "unknown train key": ({"train": {"epoch": 3}}, "unknown key in train: 'epoch' (did you mean 'epochs'?)"),
    "train key of wrong type": ({"train": {"steps": "many"}}, "train.steps is 'many', expected int"),
    "no models": ({"models": ()}, "config.models is empty"),
    "model without a name": ({"models": ({"num_experts": 2},)}, "config.models[0] has no 'name'"),
    "unknown model argument": (
        {"models": ({"name": "mmoe", "num_expert": 2},)},
        "unknown argument of model 'mmoe': 'num_expert' (did you mean 'num_experts'?)",
    ),
    "model argument of wrong type": (
        {"models": ({"name": "mmoe", "num_experts": 2.5},)},
        "model 'mmoe': num_experts is 2.5, expected an integer of at least 1",
    ),
    "unknown weighting argument": (
        {"weightings": ({"name": "mgda", "normaliser": "l2"},)},
        "unknown argument of weighting 'mgda': 'normaliser' (did you mean 'normalizer'?)",
    ),
    "weights of wrong length": (
        {"weightings": ({"name": "static", "weights": (1, 2, 3)},)},
        "expected 2 numbers, one per task",
    ),
    "negative weight": (
        {"weightings": ({"name": "static", "weights": (1, -1)},)},
        "weighting 'static': weights are [1, -1], expected numbers ≥ 0",
    ),
    "negative floor": (
        {"weightings": ({"name": "pe_ltr", "floors": (-0.1, 0.2)},)},
        "weighting 'pe_ltr': floors are [-0.1, 0.2], expected numbers ≥ 0",
    ),
    "floors above one": (
        {"weightings": ({"name": "pe_ltr", "floors": (0.6, 0.6)},)},
        "sum to 1.2, expected at most 1",
    ),
    "unknown normalisation": (
        {"weightings": ({"name": "mgda", "normalize": "unit"},)},
        "'unit'; expected one of: ",
    ),
    "model named twice": ({"models": ("mmoe", "mmoe")}, "config.models names 'mmoe' twice; give one of them"),
    "weighting label used twice": (
        {"weightings": ("mgda", {"name": "static", "label": "mgda"})},
        "config.weightings names 'mgda' twice",
    ),
    "data set argument out of range": (
        {"dataset": {"correlation": 1.5}},
        "correlation is 1.5, expected a number in [-1, 1]",
    ),
    "data set argument of wrong type": (
        {"dataset": {"num_train": "all"}},
        "num_train is 'all', expected an integer >= 2",
    ),
    "unknown data set argument": (
        {"dataset": {"corelation": 0.5}},
        "takes no argument 'corelation' (did you mean 'correlation'?)",
    ),
    "resampling a fixed set": (
        {"dataset": {"name": "digits", "resample": "yes"}},
        "config.dataset.resample is 'yes', expected true or false",
    ),
    "sweep over an unknown section": ({"sweep": {"modles": {"a": (1,)}}}, "'modles'"),
    "sweep over an unknown key": (
        {"sweep": {"train": {"lr": (1, 2)}}},
        "unknown config.sweep.train key 'lr'",
    ),
    "sweep value of wrong type": (
        {"sweep": {"train": {"steps": (1, "two")}}},
        "config.sweep.train.steps has 'two', expected int",
    ),
    "sweep without values": ({"sweep": {"train": {"steps": ()}}}, "config.sweep.train.steps is []"),
    "sweep over one value": ({"sweep": {"train": {"steps": 3}}}, "config.sweep.train.steps is 3, expected"),
    "search over an unknown key": (
        {"sweep": {"search": {"train": {"lr": ("log", 0.1, 1.0)}}}},
        "unknown key in config.train: 'lr'",
    ),
    "search over a range of one end": (
        {"sweep": {"search": {"train": {"learning_rate": ("log", 0.1)}}}},
        "config.sweep.search.train.learning_rate is ['log', 0.1], expected a lowest and a highest",
    ),
    "search beside a grid": (
        {"sweep": {"train": {"steps": (1, 2)}, "search": {"trials": 2}}},
        "config.sweep.train is a grid beside a search; leave one of the two out",
    ),
    "search without ranges": (
        {"sweep": {"search": {"trials": 2}}},
        "config.sweep.search has no range for shared_bottom x static",
    ),
    "storage that is no database": (
        {"sweep": {"search": {"storage": "nowhere", "train": {"learning_rate": ("log", 0.1, 1.0)}}}},
        "config.sweep.search.storage is 'nowhere', which cannot be used",
    ),
    "sweep that changes the tasks": (
        {"dataset": {"num_tasks": 2}, "sweep": {"dataset": {"num_tasks": (2, 3)}}},
        "num_tasks=3 changes the columns or tasks",
    ),
    "tap without a shared representation": (
        {
            "models": ({"name": "single_task", "transfer": "bayesian"},),
            "weightings": ({"name": "mgda", "tap": True},),
        },
        "has no shared representation to tap",
    ),
    "cyclic task graph": (
        {
            "dataset": {
                "name": "census",
                "parents": {"income": ("never_married",), "never_married": ("income",)},
            }
        },
        "the task graph has a cycle: income -> never_married -> income",
    ),
}


@pytest.mark.parametrize("changes, expected", STUDIES.values(), ids=STUDIES)
def test_a_wrong_value_in_a_study(refused, write_study, tmp_path, changes, expected):
    if changes.get("dataset", {}).get("name") in ("census", "digits"):
        path = tmp_path / "small.py"
        path.write_text(
            "from mtl.sweep import study_config\n\ndef get_config():\n"
            f"    return study_config('small', {changes['dataset']!r}, ('mmoe',), ('static',))\n"
        )
    else:
        path = write_study(**changes)
    assert expected in refused(f"--config={path}")


# ---- the study's file itself --------------------------------------------------------------------------

FILES = {
    "syntax error": ("def get_config(:\n", "SyntaxError"),
    "raises": ("def get_config():\n    raise RuntimeError('first\\nsecond')\n", "RuntimeError: first second"),
    "misses a file": ("def get_config():\n    return open('absent.json')\n", "absent.json"),
    "misses an attribute": ("import os\ndef get_config():\n    return os.nothing\n", "AttributeError"),
    "has no get_config": ("config = {}\n", "has no get_config()"),
    "returns nothing": ("def get_config():\n    pass\n", "get_config() returned NoneType"),
    "misses an import": ("import absent_package\n", "ModuleNotFoundError"),
}


@pytest.mark.parametrize("text, expected", FILES.values(), ids=FILES)
def test_a_broken_study_file(refused, tmp_path, text, expected):
    path = tmp_path / "broken.py"
    path.write_text(text)
    message = refused(f"--config={path}")
    assert message.startswith(f"mtl: --config={path}: ")
    assert expected in message


def test_a_missing_study_file(refused):
    assert "--config: there is no file 'absent.py'; studies are in experiments/" in refused(
        "--config", "absent.py"
    )


def test_a_study_with_an_extra_section(refused, tmp_path):
    path = tmp_path / "extra.py"
    path.write_text(
        "from ml_collections import ConfigDict\n\n"
        "def get_config():\n    return ConfigDict({'name': 'x', 'seed': 1})\n"
    )
    assert "unknown config key 'seed' (did you mean 'seeds'?)" in refused(f"--config={path}")


# ---- the workdir --------------------------------------------------------------------------------------


def test_a_workdir_that_is_a_file(refused, write_study, tmp_path):
    (tmp_path / "results").write_text("mine")
    message = refused(f"--config={write_study()}", f"--workdir={tmp_path / 'results'}")
    assert "is a file; name a folder" in message
    assert (tmp_path / "results").read_text() == "mine"


def test_a_workdir_below_a_file(refused, write_study, tmp_path):
    (tmp_path / "results").write_text("mine")
    message = refused(f"--config={write_study()}", f"--workdir={tmp_path / 'results' / 'here'}")
    assert "cannot be written: Not a directory" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_workdir_without_permission(refused, write_study, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "cannot be written: Permission denied" in refused(
        f"--config={write_study()}", f"--workdir={locked / 'here'}"
    )


def test_a_workdir_in_use(refused, write_study, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    message = refused(f"--config={write_study()}", f"--workdir={tmp_path / 'full'}")
    assert "is not empty and is never overwritten; continue it with --resume" in message


def test_a_users_empty_folder_is_not_removed(refused, write_study, tmp_path):
    (tmp_path / "mine").mkdir()
    refused(f"--config={write_study()}", f"--workdir={tmp_path / 'mine'}", "--config.models=no")
    assert (tmp_path / "mine").is_dir()


@pytest.mark.parametrize("flag", ["--resume", "--report"])
def test_a_workdir_without_a_study(refused, write_study, tmp_path, flag):
    message = refused(f"--config={write_study()}", f"--workdir={tmp_path / 'none'}", flag)
    assert f"{tmp_path / 'none'} holds no study (no config.json)" in message


@pytest.mark.parametrize("flag", ["--resume", "--report"])
@pytest.mark.parametrize("content", ["{", "[]", '{"config": 3}', "{}", '{"config": {}}'])
def test_a_damaged_config(refused, tmp_path, flag, content):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "config.json").write_text(content)
    message = refused(f"--workdir={tmp_path / 'study'}", flag)
    assert "config" in message


# ---- through the shell --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--config.train.learning_rate=fast"], "config.train.learning_rate is 'fast', expected float"),
        (["--config=absent.py"], "there is no file 'absent.py'"),
        (["--config.models=mmo"], "unknown model 'mmo' (did you mean 'mmoe'?)"),
    ],
)
def test_the_process_says_one_line_and_exits_with_2(tmp_path, arguments, expected):
    process = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 2
    assert process.stdout == ""
    assert len(process.stderr.splitlines()) == 1
    assert process.stderr.startswith("mtl: ")
    assert expected in process.stderr
    assert not list(tmp_path.rglob("config.json"))
