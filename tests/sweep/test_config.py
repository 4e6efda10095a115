"""The config of a study: typed, locked, plain; labels and hyper-parameters as the results name them."""

import pytest

from mtl.errors import InputError
from mtl.sweep import check_config, plain, study_config
from mtl.sweep.config import hparams, label, without_label
from mtl.train import TrainSettings

DATASET = {"name": "mmoe_synthetic"}


def config(**changes):
    arguments = {"models": ("mmoe",), "weightings": ("static",), **changes}
    return study_config("s", DATASET, **arguments)


def test_every_train_setting_is_a_key_with_its_default():
    assert plain(config().train) == plain(TrainSettings()._asdict())
    changed = plain(config(train={"steps": 5, "learning_rate": 1}).train)
    assert changed == plain(TrainSettings(steps=5, learning_rate=1.0)._asdict())
    assert isinstance(changed["learning_rate"], float)


def test_a_config_is_locked_and_typed():
    found = config()
    with pytest.raises(AttributeError):
        found.seed = 3
    with pytest.raises(TypeError):
        found.seeds = "three"


@pytest.mark.parametrize(
    "key, value", [("steps", 1.5), ("steps", True), ("epochs", "2"), ("optimizer", 3), ("batch_size", None)]
)
def test_a_train_value_of_the_wrong_type_is_refused(key, value):
    with pytest.raises(InputError, match=f"train.{key} is {value!r}, expected "):
        config(train={key: value})


def test_plain_configs_are_json():
    found = plain(config(models=("mmoe", {"name": "ple", "expert_features": (4, 4)}), sweep={"train": {}}))
    assert found["models"] == ["mmoe", {"name": "ple", "expert_features": [4, 4]}]
    assert found["dataset"] == {"name": "mmoe_synthetic", "resample": False}
    assert check_config(found) == found


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"seeds": True}, "config.seeds is True, expected a count of at least 1"),
        ({"seeds": 0}, "config.seeds is 0"),
        ({"name": ""}, "config.name is ''"),
        ({"name": ".hidden"}, "config.name is '.hidden'"),
        ({"weightings": []}, "config.weightings is empty"),
        ({"models": [{"label": "x"}]}, r"config.models\[0\] has no 'name'"),
        ({"train": []}, r"config.train is \[\], expected a mapping"),
        ({"report": {"base": ""}}, "unknown key in config.report: 'base'"),
        ({"report": {"conditions": ["steps"]}}, "conditions names 'steps', .* it sweeps nothing"),
        ({"extra": 1}, "unknown config key 'extra'"),
    ],
)
def test_a_stored_config_is_checked_again(changes, message):
    with pytest.raises(InputError, match=message):
        check_config({**plain(config()), **changes})


def test_a_missing_section_is_named():
    found = plain(config())
    del found["train"]
    with pytest.raises(InputError, match="config has no key 'train'"):
        check_config(found)


@pytest.mark.parametrize(
    "spec, expected",
    [
        ("mgda", "mgda"),
        ({"name": "mgda"}, "mgda"),
        ({"name": "mgda", "tap": True}, "mgda(tap=True)"),
        ({"name": "static", "weights": [1, 0.5], "normalize": "sum_one"}, None),
        ({"name": "mgda", "tap": True, "label": "MGDA-UB"}, "MGDA-UB"),
    ],
)
def test_labels(spec, expected):
    assert label(spec) == (expected or "static(weights=(1,0.5), normalize=sum_one)")


def test_a_label_is_not_an_argument():
    assert without_label({"name": "mgda", "label": "x", "tap": True}) == {"name": "mgda", "tap": True}


def test_hyper_parameters_are_sorted_and_free_of_separators():
    assert hparams({}) == ""
    assert hparams({"b": 0.5, "a": (1, 2)}) == "a=(1,2);b=0.5"
    assert hparams({"a": "x;y=z"}) == "a=x,y:z"
