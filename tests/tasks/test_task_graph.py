"""The task graph: parents by name, topological order, cycles spelt out."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.errors import InputError
from mtl.tasks import Task, required_tasks, task_graph, topological_order


@st.composite
def acyclic(draw):
    """Parents of up to eight tasks under a random renumbering."""
    size = draw(st.integers(1, 8))
    rank = draw(st.permutations(range(size)))
    parents: list[tuple[int, ...]] = [()] * size
    for position, node in enumerate(rank):
        if position:
            parents[node] = tuple(draw(st.sets(st.sampled_from(rank[:position]))))
    return parents


@given(acyclic())
def test_parents_come_first_in_the_order(parents):
    order = topological_order(parents)
    assert sorted(order) == list(range(len(parents)))
    for node, above in enumerate(parents):
        assert all(order.index(p) < order.index(node) for p in above)


@given(acyclic(), st.data())
def test_closing_a_path_makes_a_cycle_that_is_spelt_out(parents, data):
    child = data.draw(st.integers(0, len(parents) - 1))
    ancestors = {child}
    while grown := {p for node in ancestors for p in parents[node]} - ancestors:
        ancestors |= grown
    ancestor = data.draw(st.sampled_from(sorted(ancestors)))
    parents[ancestor] = (*parents[ancestor], child)
    with pytest.raises(InputError, match="has a cycle: ") as caught:
        topological_order(parents)
    path = [int(n) for n in str(caught.value).split(": ")[1].split(";")[0].split(" -> ")]
    assert path[0] == path[-1]
    assert len(path) > 1
    assert all(after in parents[before] for before, after in itertools.pairwise(path))


def test_ties_keep_the_declared_order():
    assert topological_order([(), (), ()]) == (0, 1, 2)
    assert topological_order([(2,), (), ()]) == (1, 2, 0)


def test_parents_are_resolved_in_declared_order():
    tasks = (Task("buy", parents=("click", "view")), Task("view"), Task("click", parents=("view",)))
    assert task_graph(tasks) == ((2, 1), (), (1,))


def test_a_cycle_is_named_by_its_tasks():
    tasks = (Task("a"), Task("b", parents=("d",)), Task("c", parents=("b",)), Task("d", parents=("c", "a")))
    with pytest.raises(InputError, match="has a cycle: b -> d -> c -> b; remove one edge"):
        task_graph(tasks)


def test_a_task_may_not_be_its_own_parent():
    with pytest.raises(InputError, match="has a cycle: a -> a"):
        task_graph([Task("a", parents=("a",))])


@pytest.mark.parametrize(
    "tasks, message",
    [
        ((Task("a"), Task("a")), "task name 'a' appears twice"),
        ((Task("a", parents=("b",)),), "task 'a': parent 'b' is not a task; tasks are a"),
        ((Task("a", "ordinal"),), "task 'a': kind 'ordinal' is not one of binary, multiclass, regression"),
    ],
)
def test_unsound_tasks_are_named(tasks, message):
    with pytest.raises(InputError, match=message):
        task_graph(tasks)


def test_the_number_of_outputs():
    assert Task("a").num_outputs == 1
    assert Task("a", "multiclass", 7).num_outputs == 7
    assert Task("a", "regression", 7).num_outputs == 1


def test_required_events_are_followed_to_the_start():
    tasks = [
        Task("buy", parents=("cart",), requires=("cart",)),
        Task("click"),
        Task("cart", parents=("click",), requires=("click",)),
        Task("share", parents=("cart", "click"), requires=("click",)),
    ]
    assert required_tasks(tasks) == ((1, 2), (), (1,), (1,))


@pytest.mark.parametrize(
    "task, expected",
    [
        (Task("buy", requires=("click",)), "'buy' requires 'click', which is not among its parents"),
        (Task("time", "regression", parents=("click",), requires=("click",)), "both must be binary"),
    ],
)
def test_only_binary_parents_can_be_required(task, expected):
    with pytest.raises(InputError, match=expected):
        task_graph([Task("click"), task])
