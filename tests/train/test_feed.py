"""The feed of a training loop: what it loads and when, its errors, its thread, and the time it took."""

import threading
import time

import pytest

from mtl.train import Feed


def threads():
    return {t.name for t in threading.enumerate() if t.name.startswith("input")}


@pytest.mark.parametrize("depth", [0, 1, 2, 5])
def test_calls_get_their_columns_in_order(depth):
    with Feed(lambda start: {"rows": start}, range(0, 12, 4), depth) as feed:
        assert [feed.take()["rows"] for _ in range(3)] == [0, 4, 8]
    assert threads() == set()


@pytest.mark.parametrize("depth, ahead", [(1, 1), (3, 3)])
def test_as_many_calls_are_loaded_ahead_as_asked(depth, ahead):
    loaded = []
    with Feed(lambda start: loaded.append(start) or {}, range(10), depth) as feed:
        feed.take()
        until = time.monotonic() + 5
        while len(loaded) < 1 + ahead and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(0.02)
        assert loaded == list(range(1 + ahead))


def test_without_depth_nothing_is_loaded_before_it_is_asked_for():
    loaded = []
    with Feed(lambda start: loaded.append(start) or {}, range(10), 0) as feed:
        assert loaded == []
        assert threads() == set()
        feed.take()
        assert loaded == [0]


def test_an_error_is_raised_by_the_call_whose_rows_it_concerns():
    def load(start):
        if start == 2:
            raise ValueError("row 2 is bad")
        return {"rows": start}

    with Feed(load, range(5), 2) as feed:
        assert feed.take()["rows"] == 0
        assert feed.take()["rows"] == 1
        with pytest.raises(ValueError, match="row 2 is bad"):
            feed.take()
    assert threads() == set()


def test_an_error_of_the_caller_ends_the_thread():
    def stop_early():
        with Feed(lambda start: {}, range(100), 3) as feed:
            feed.take()
            raise KeyError("stop")

    with pytest.raises(KeyError):
        stop_early()
    assert threads() == set()


def test_waiting_is_measured_where_loading_is_slow():
    def load(start):
        time.sleep(0.02)
        return {}

    with Feed(load, range(4), 1) as feed:
        assert feed.time(10) is None
        for _ in range(4):
            feed.take()
        slow = feed.time(10)
    assert slow.examples == 40
    assert slow.first_seconds >= 0.015
    assert 0.04 < slow.wait_seconds <= slow.seconds
    assert slow.wait_share > 0.7
    assert slow.examples_per_second == pytest.approx(40 / slow.seconds)


def test_no_wait_is_measured_where_computing_is_slower():
    def load(start):
        time.sleep(0.002)
        return {}

    with Feed(load, range(4), 2) as feed:
        for _ in range(4):
            feed.take()
            time.sleep(0.05)
        assert feed.time(1).wait_share < 0.1
