"""Several processes: the three flags, dealing out, and the watcher that outlives an abort."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from mtl.errors import InputError
from mtl.sweep.engine import wait_for_files
from mtl.sweep.hosts import ALONE, check_hosts, deal, leave, meet
from mtl.sweep.watch import WATCHED, watch, watch_all


def test_three_flags_make_a_process_one_of_several():
    hosts = check_hosts("10.0.0.1:1234", 4, 3)
    assert (hosts.this, hosts.number) == (3, 4)
    assert check_hosts(None, None, None) == ALONE


def test_processes_may_train_together():
    assert check_hosts("h:1", 4, 3, together=True).together
    assert not check_hosts("h:1", 4, 3).together
    with pytest.raises(InputError, match="--together is for several processes: give --coordinator too"):
        check_hosts(None, None, None, together=True)


@pytest.mark.parametrize(
    "flags, message",
    [
        (("h:1", 2, None), "go together: give all or none"),
        ((None, 2, 0), "go together"),
        (("h:1", None, 0), "go together"),
        (("host", 2, 0), "--coordinator is 'host', expected host:port, such as 10.0.0.1:1234"),
        (("h:port", 2, 0), "expected host:port"),
        (("h:70000", 2, 0), "expected host:port"),
        ((":80", 2, 0), "expected host:port"),
        (("h:1", 0, 0), "--num_processes is 0, expected at least 1"),
        (("h:1", 2, 2), "--process_id is 2, expected 0 … 1, each for one process"),
        (("h:1", 2, -1), "--process_id is -1"),
    ],
)
def test_wrong_flags(flags, message):
    with pytest.raises(InputError, match=message):
        check_hosts(*flags)


def test_one_process_gets_all_and_waits_for_nobody():
    assert deal(ALONE, ["a", "b", "c"], "groups") == ["a", "b", "c"]
    meet(ALONE, "end")
    leave(ALONE)


class Service:
    """The coordination service of two processes, in one."""

    def __init__(self):
        self.held = {}

    def key_value_set(self, key, value):
        assert key not in self.held
        self.held[key] = value

    def blocking_key_value_get(self, key, timeout_in_ms):
        return self.held[key]


def test_groups_are_dealt_out_by_the_list_of_the_first(monkeypatch):
    service = Service()
    monkeypatch.setattr("mtl.sweep.hosts._client", lambda: service)
    first = deal(check_hosts("h:1", 2, 0), ["a", "b", "c", "d", "e"], "groups")
    second = deal(check_hosts("h:1", 2, 1), ["a", "e"], "groups")  # it sees a list that is out of date
    assert (first, second) == (["a", "c", "e"], ["b", "d"])


def test_processes_that_train_together_all_get_all(monkeypatch):
    service = Service()
    monkeypatch.setattr("mtl.sweep.hosts._client", lambda: service)
    first = deal(check_hosts("h:1", 2, 0, together=True), ["a", "b"], "groups")
    second = deal(check_hosts("h:1", 2, 1, together=True), ["a"], "groups")  # its list is out of date
    assert first == second == ["a", "b"]


def test_results_of_others_that_stay_out_of_sight_stop_the_study(tmp_path, monkeypatch):
    monkeypatch.setattr("mtl.sweep.engine.SIGHT_SECONDS", 0.0)
    plan = SimpleNamespace(groups=[SimpleNamespace(id="here"), SimpleNamespace(id="there")])
    for name in ("here", "there"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        if name == "there":
            with pytest.raises(OSError, match="out of sight here") as error:
                wait_for_files(tmp_path, plan)
            assert error.value.filename.endswith("there/result.json")
        (tmp_path / "checkpoints" / name / "result.json").touch()
    wait_for_files(tmp_path, plan)


# ---- the watcher --------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _signals():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    "command, code",
    [
        ("raise SystemExit(3)", 3),
        ("pass", 0),
        ("import os; os.abort()", -signal.SIGABRT),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    ],
)
def test_the_watcher_tells_how_it_ended(command, code):
    assert watch(["-c", command]) == code


def test_when_one_fails_the_others_end():
    started = time.monotonic()
    wait = "import time; time.sleep(120)"
    failed = watch_all([["-c", wait], ["-c", "raise SystemExit(7)"], ["-c", wait]])
    assert failed == (1, 7)
    assert time.monotonic() - started < 60
    assert watch_all([["-c", wait], ["-c", "import os; os.kill(os.getpid(), 9)"]]) == (1, -signal.SIGKILL)


def test_when_one_stops_the_others_may_stop_too(tmp_path):
    told = tmp_path / "stopped"
    slow = f"import pathlib, time; time.sleep(1); pathlib.Path({str(told)!r}).touch(); raise SystemExit(3)"
    assert watch_all([["-c", "raise SystemExit(3)"], ["-c", slow]]) == (0, 3)
    assert told.exists()


def test_all_do_well_and_the_first_is_heard(capfd):
    assert watch_all([["-c", f"print({i})"] for i in range(3)]) == (0, 0)
    assert capfd.readouterr().out == "0\n"


WATCHER = """
import sys
from mtl.sweep.watch import watch
sys.exit(watch(["-c", sys.argv[1]]))
"""

STEPS = """
import os, pathlib, signal, sys, time
from mtl.sweep.watch import end_with_watcher
end_with_watcher()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
pathlib.Path("pid").write_text(str(os.getpid()))
time.sleep(120)
"""


def started(folder):
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    environment.pop(WATCHED, None)
    process = subprocess.Popen([sys.executable, "-c", WATCHER, STEPS], cwd=folder, env=environment)
    return process, int(wait_for(lambda: (folder / "pid").exists() and (folder / "pid").read_text()))


def wait_for(condition):
    for _ in range(1200):
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("it never came")


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # An orphan that nobody has waited for is a zombie.
    with open(f"/proc/{pid}/stat") as f:
        return f.read().split()[2] == "Z"


def test_a_signal_is_passed_on(tmp_path):
    watcher, _ = started(tmp_path)
    watcher.send_signal(signal.SIGTERM)
    assert watcher.wait(timeout=60) == 5


def test_killing_the_watcher_kills_the_watched(tmp_path):
    watcher, pid = started(tmp_path)
    assert not gone(pid)
    watcher.kill()
    watcher.wait(timeout=60)
    wait_for(lambda: gone(pid))
