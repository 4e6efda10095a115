import io

import pytest

from mtl.data.progress import progress


class Clock:
    """Advances by a fixed step whenever it is read."""

    def __init__(self, step):
        self.now, self.step = 0.0, step

    def monotonic(self):
        self.now += self.step
        return self.now


@pytest.fixture
def run(monkeypatch, capsys):
    def run(count, seconds_per_item):
        monkeypatch.setattr("mtl.data.progress.time", Clock(seconds_per_item))
        items = list(progress(range(count), count, "reading"))
        return items, capsys.readouterr()

    return run


def test_plain_lines_come_every_few_seconds(run):
    items, output = run(2000, 0.01)
    assert items == list(range(2000))
    # 20 s of work: lines after 5, 10, 15 and 20 s, less the last if the work ends before it.
    lines = output.err.splitlines()
    assert 3 <= len(lines) <= 4
    assert lines[0] in ("reading: 499 of about 2,000", "reading: 500 of about 2,000")
    assert output.out == ""


def test_short_work_is_silent(run):
    items, output = run(100, 0.01)
    assert items == list(range(100))
    assert output.err == ""


def test_a_terminal_gets_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert list(progress(range(3), 3, "reading")) == [0, 1, 2]
    assert "reading" in terminal.getvalue()
    assert "0/3" in terminal.getvalue()
    assert "of about" not in terminal.getvalue()
