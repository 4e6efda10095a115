"""Settings of all tests: simulated devices, a persistent compilation cache, deterministic hypothesis."""

import gc
import os
from importlib.metadata import version
from pathlib import Path

# Before jax is imported: compiled programs are kept between runs of the suite.
CACHE = Path(__file__).parents[1] / ".cache" / "xla"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

# A program of a test runs once or twice; to compile it as for production took half of the suite's time.
# MTL_TEST_OPTIMISED=1 does so all the same.
QUICK = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
if version("jaxlib").startswith("0.10."):  # later versions have no other emitters
    QUICK.append("--xla_cpu_use_fusion_emitters=false")
if os.environ.get("MTL_TEST_OPTIMISED", "") != "1":
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *QUICK]).strip()

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_num_cpu_devices", 8)

gc.set_threshold(100_000, 20, 20)  # tracing allocates much and frees little: a tenth of the suite's time

hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("suite")


@pytest.fixture
def x64():
    """Runs a test in float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Drops a module's compiled programs: each holds memory maps, of which a process has only so many."""
    yield
    jax.clear_caches()
