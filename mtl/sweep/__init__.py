"""Studies: config → plan → groups of runs → result files."""

from mtl.sweep.config import check_config, plain, study_config
from mtl.sweep.engine import run_plan
from mtl.sweep.estimate import describe
from mtl.sweep.folder import prepare_folder, stored_config, write_config
from mtl.sweep.hosts import ALONE, Hosts, check_hosts, join, meet
from mtl.sweep.plan import Group, Plan, Run, make_plan
from mtl.sweep.provenance import provenance
from mtl.sweep.stop import StopRequest
from mtl.sweep.store import write_results
from mtl.sweep.watch import end_with_watcher, is_watched, leave, watch, watch_all

__all__ = [
    "ALONE",
    "Group",
    "Hosts",
    "Plan",
    "Run",
    "StopRequest",
    "check_config",
    "check_hosts",
    "describe",
    "end_with_watcher",
    "is_watched",
    "join",
    "leave",
    "make_plan",
    "meet",
    "plain",
    "prepare_folder",
    "provenance",
    "run_plan",
    "stored_config",
    "study_config",
    "watch",
    "watch_all",
    "write_config",
    "write_results",
]
