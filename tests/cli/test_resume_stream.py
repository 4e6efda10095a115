"""A study whose rows stream from disk, killed in the middle of its epochs, ends as one that is left alone."""

import processes
import pytest
from processes import finish, read, wait_for_changes

STUDY = """
from mtl.sweep import study_config

def get_config():
    return study_config(
        name="streamed",
        dataset=dict(name="funnel_shards", num_train=40_000, num_val=500, num_test=500, click_rate=0.3,
                     conversion_rate=0.3, num_users=50, num_items=20, in_memory=False, window_rows=16_384),
        models=("shared_bottom",),
        weightings=("mgda",),
        seeds=2,
        train=dict(batch_size=256, steps=300, eval_every=100, steps_per_call=10, checkpoint_seconds=0.0),
        report=dict(baseline=""),
    )
"""
KILLS = 3

pytestmark = pytest.mark.slow


def test_kills_in_the_middle_of_an_epoch_change_no_byte(tmp_path):
    (tmp_path / "study.py").write_text(STUDY)
    data = f"--data_dir={tmp_path / 'data'}"
    code, _, said = finish(processes.start(tmp_path, "--config=study.py", "--workdir=alone", data))
    assert code == 0, said
    workdir = tmp_path / "killed"
    kills = 0
    for kill in range(KILLS):
        resume = ["--resume"] if (workdir / "config.json").is_file() else []
        process = processes.start(tmp_path, "--config=study.py", "--workdir=killed", data, *resume)
        wait_for_changes(process, workdir, 8 + 5 * kill)
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills == KILLS, "the study was over before it had been killed often enough"
    assert list(workdir.glob("checkpoints/*/last/*"))
    code, _, said = finish(processes.start(tmp_path, "--workdir=killed", data, "--resume"))
    assert code == 0, said
    assert read(workdir) == read(tmp_path / "alone")
