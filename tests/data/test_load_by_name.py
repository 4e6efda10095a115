import inspect

import pytest

from mtl.data import DATASETS, Dataset, load
from mtl.errors import InputError


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
    assert listed == taken
    assert ("(did you mean 'seed'?)" in message) == ("seed" in taken)


def test_folders_are_accepted_by_every_set(tmp_path):
    dataset = load("digits", data_dir=tmp_path, manual_dir=tmp_path, num_train=4, num_val=4, num_test=4)
    assert isinstance(dataset, Dataset)
    assert list(tmp_path.iterdir()) == []
