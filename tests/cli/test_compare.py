"""What `--compare` and `--tensorboard` say when there is nothing to read."""

import pytest

import run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compare", "a"], "--compare needs two workdirs, as in --compare A B; got ['a']"),
        (["--compare", "a", "b", "c"], "got ['a', 'b', 'c']"),
        (["--compare", "nowhere", "nowhere"], "nowhere/config.json is missing"),
        (["--workdir=nowhere", "--tensorboard"], "nowhere/config.json is missing"),
    ],
)
def test_one_line_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run.main(["run.py", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())
