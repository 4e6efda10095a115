import inspect

import pytest

from mtl.data import DATASETS, Dataset, load
from mtl.errors import InputError
from mtl.tasks import task_graph

SMALL = {"dim": 4, "num_train": 8, "num_val": 4, "num_test": 4}


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"unknown data set 'digit' \(did you mean 'digits'\?\)"):
        load("digit")


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_an_argument_that_a_loader_does_not_take_is_named_with_those_it_takes(name):
    with pytest.raises(InputError, match=f"data set '{name}' takes no argument 'sed'") as caught:
        load(name, sed=1)
    message = str(caught.value)
    listed = set(message.split("it takes: ")[1].split(", "))
    taken = set(inspect.signature(DATASETS[name]).parameters) - {"data_dir", "manual_dir"}
    assert listed == taken | {"losses", "parents"}
    assert ("(did you mean 'seed'?)" in message) == ("seed" in taken)


def test_folders_are_accepted_by_every_set(tmp_path):
    dataset = load("digits", data_dir=tmp_path, manual_dir=tmp_path, num_train=4, num_val=4, num_test=4)
    assert isinstance(dataset, Dataset)
    assert list(tmp_path.iterdir()) == []


def test_losses_are_set_for_any_data_set():
    found = load(
        "mmoe_synthetic", **SMALL, losses={"task_1": {"name": "huber", "delta": 2.0}, "task_2": "absolute"}
    )
    first, second = found.schema.tasks
    assert (first.loss, first.loss_arguments) == ("huber", (("delta", 2.0),))
    assert (second.loss, second.loss_arguments) == ("absolute", ())
    assert [t._replace(loss="", loss_arguments=()) for t in found.schema.tasks] == list(
        load("mmoe_synthetic", **SMALL).schema.tasks
    )


def test_parents_are_set_for_a_loader_that_has_no_such_argument():
    found = load("mmoe_synthetic", **SMALL, parents={"task_1": ["task_2"], "task_2": ()})
    assert task_graph(found.schema.tasks) == ((1,), ())


def test_a_loader_that_takes_parents_is_given_them(monkeypatch):
    def own(parents=None):
        return load("mmoe_synthetic", **SMALL)._replace(provenance={"parents": parents})

    monkeypatch.setitem(DATASETS, "own", own)
    assert load("own", parents={"task_2": ()}).provenance == {"parents": {"task_2": ()}}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"losses": {"task_3": "huber"}}, "unknown task in losses: 'task_3'"),
        ({"losses": {"task_1": "focal"}}, "unknown loss of regression task 'task_1': 'focal'"),
        ({"losses": {"task_1": {"delta": 1.0}}}, "losses: 'task_1' has .*, expected a name"),
        ({"losses": "huber"}, "losses is 'huber', expected a mapping"),
        (
            {"losses": {"task_1": {"name": "huber", "beta": 1}}},
            "'huber': unknown argument 'beta'; it takes delta",
        ),
        ({"losses": {"task_1": {"name": "huber", "delta": -1}}}, "delta is -1, expected a number >= 1e-06"),
        ({"losses": {"task_1": {"name": "huber", "delta": "x"}}}, "delta is 'x', expected a finite number"),
        ({"losses": {"task_1": "watch_time"}}, "label 'task_1' is -.*, expected a number >= 0"),
        ({"parents": {"task_3": ()}}, "unknown task in parents: 'task_3'"),
        ({"parents": {"task_1": "task_2"}}, "parents: 'task_1' has 'task_2', expected a tuple"),
        ({"parents": {"task_1": ("task_2",)}}, "has a cycle"),
    ],
)
def test_wrong_losses_and_parents_are_one_clear_line(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        load("mmoe_synthetic", **SMALL, **arguments)
    assert "\n" not in str(caught.value)
