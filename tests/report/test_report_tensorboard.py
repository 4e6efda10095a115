"""Event files are read back with a reader of our own: records, protocol buffers, scalars."""

import builtins
import struct

import pytest
from fake_workdir import make_workdir
from study_files import runs, train_record, write_study

from mtl.errors import InputError
from mtl.report.tensorboard import write_tensorboard

pytest.importorskip("tensorboardX", reason="the extra 'tensorboard' is not installed")


def events(path):
    """(step, tag, value) of an event file: TFRecord frames around `tensorboard.Event` messages."""
    from tensorboardX.proto.event_pb2 import Event

    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        event = Event.FromString(data[at + 12 : at + 12 + length])
        found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        at += 12 + length + 4
    return found


def only_file(folder):
    (path,) = folder.glob("events.out.tfevents.*")
    return path


def test_every_number_of_a_run_is_there(tmp_path):
    gates = {"gate": {"entropy": [0.5, 0.25], "utilisation": [[1.0]], "utilisation_sd": [[0.0]]}}
    first = train_record("m", "mgda", 0, 10, loss={"t0": 0.5}, weight={"t0": 2.0}, residual=0.125)
    val = {**first, "kind": "val", "step": 20, "metrics": {"t0": {"auc": 0.75, "logloss": None}}}
    gate = {**first, "kind": "gates", "step": 20, "gates": gates}
    missing = train_record("m", "mgda", 0, 30, loss={"t0": None}, weight={"t0": 1.0})
    write_study(tmp_path, runs("m", "mgda", [0.1]), kinds=("binary",), records=[first, val, gate, missing])
    folder = write_tensorboard(tmp_path)
    assert folder == tmp_path / "tensorboard"
    assert events(only_file(folder / "d" / "m-mgda" / "seed-0")) == [
        (10, "loss/t0", 0.5),
        (10, "weight/t0", 2.0),
        (10, "residual", 0.125),
        (20, "val/t0/auc", 0.75),
        (20, "gate_entropy/gate/1", 0.5),
        (20, "gate_entropy/gate/2", 0.25),
        (30, "weight/t0", 1.0),
    ]


def test_a_folder_per_run_and_a_second_call_replaces_the_first(tmp_path):
    folder = make_workdir(tmp_path / "s", models=("mmoe",), weightings=("static", "uwl"), seeds=2)
    for _ in range(2):
        written = write_tensorboard(folder)
        assert len(list(written.rglob("events.out.tfevents.*"))) == 2 * 2 * 2
    assert only_file(written / "synthetic" / "correlation=0.9" / "mmoe-uwl" / "seed-1").stat().st_size > 1000


def test_names_that_are_no_file_names_stay_apart(tmp_path):
    records = [train_record("m", name, 0, 1) for name in ("a/b", "a:b", "..")]
    write_study(tmp_path, runs("m", "x", [0.1]), kinds=("binary",), records=records)
    written = write_tensorboard(tmp_path)
    names = {str(path.parent.relative_to(written)) for path in written.rglob("events.*")}
    assert names == {"d/m-a-b/seed-0", "d/m-a-b/seed-0-2", "d/m/seed-0"}


def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("tensorboardX"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'mtl\[tensorboard\]'") as caught:
        write_tensorboard(tmp_path)
    assert "\n" not in str(caught.value)
