import io

import pytest

from mtl.progress import Progress, track


class Clock:
    """Advances by a fixed step whenever it is read."""

    def __init__(self, step):
        self.now, self.step = 0.0, step

    def monotonic(self):
        self.now += self.step
        return self.now


@pytest.fixture
def clock(monkeypatch):
    return lambda step: monkeypatch.setattr("mtl.progress.time", Clock(step))


def test_plain_lines_come_every_few_seconds_with_rate_and_eta(clock, capsys):
    clock(0.01)
    assert list(track(range(2000), 2000, "reading")) == list(range(2000))
    output = capsys.readouterr()
    lines = output.err.splitlines()
    assert 3 <= len(lines) <= 4  # 20 s of work, a line every 5 s
    done = int(lines[0].split("/2000 items")[0].split()[-1])
    assert 490 <= done <= 505  # the first line after 5 s, a hundredth of a second per item
    assert "items/s" in lines[0]
    assert "ETA 15 s" in lines[0] or "ETA 16 s" in lines[0]
    assert "reading" in lines[0]
    assert output.out == ""


def test_short_work_is_silent(clock, capsys):
    clock(0.01)
    assert list(track(range(100), 100, "reading")) == list(range(100))
    assert capsys.readouterr().err == ""


def test_resumed_work_does_not_count_in_the_rate(clock, capsys):
    clock(1.0)
    with Progress(1000, "steps", done=900, every_seconds=2.0) as progress:
        for _ in range(10):
            progress.advance(10)
    lines = capsys.readouterr().err.splitlines()
    rate = float(lines[-1].split(" steps/s")[0].split()[-1])
    assert rate < 20  # 100 steps in over 10 ticks of the clock, not 1000
    assert "1000/1000" in lines[-1]


def test_a_terminal_gets_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert list(track(range(3), 3, "reading")) == [0, 1, 2]
    assert "reading" in terminal.getvalue()
    assert "0/3" in terminal.getvalue()
    assert "%" in terminal.getvalue()
