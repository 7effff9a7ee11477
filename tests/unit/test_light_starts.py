"""What people wait for before a command says a word: which packages are loaded, and how long that takes."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

# Of whatever is done here: numpy and Redis, settings, and JSON that was stored.
COMMON = {
    *("annotated_types", "numpy", "orjson", "pydantic", "pydantic_core", "redis", "typing_extensions"),
    "typing_inspection",
}
COMMANDS = {"click", "pythonjsonlogger"}
LABELS = {"defusedxml"}
FLASK = {"blinker", "click", "flask", "itsdangerous", "jinja2", "markupsafe", "werkzeug"}
MAY_LOAD = {
    "prepal.cli.main": COMMON - {"numpy"} | COMMANDS,
    "prepal.reports.status": COMMON | LABELS,
    "prepal.label_studio.connect": COMMON | LABELS,
    "prepal.doctor.examination": COMMON | LABELS | {"rq"},
    "prepal.doctor.upkeep": COMMON | LABELS,
    "prepal.server.process": COMMON | FLASK | {"gunicorn"},
}
LOADED = """
import sys
import {module}

own = set(sys.stdlib_module_names) | {{"prepal", "__main__"}}
print(*sorted({{name.partition(".")[0] for name in sys.modules}} - own))
"""
FEWEST_TURNS, MOST_TURNS = 5, 31


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of compiled modules, which an installation has and a working tree may lack."""
    folder = tmp_path_factory.mktemp("compiled")
    processor_s(f"numpy, redis, {', '.join(MAY_LOAD)}", folder)
    return folder


@pytest.mark.parametrize("module", MAY_LOAD)
def test_a_command_loads_only_what_it_needs_before_it_says_a_word(module: str) -> None:
    code = LOADED.format(module=module)
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in shown.stdout.split() if not name.startswith(("_", "sitecustomize"))}
    assert loaded <= MAY_LOAD[module]


@pytest.mark.parametrize("module", MAY_LOAD)
def test_a_command_takes_at_most_twice_as_long_to_load_as_numpy_and_redis(module: str, compiled: Path) -> None:
    """Measured in processor time and in turns, as a busy machine slows both; the median of some turns is steady.

    Turns are added until it is small enough, or is not small enough after many.
    """
    times: list[float] = []
    while len(times) < FEWEST_TURNS or (median(times) > 2 and len(times) < MOST_TURNS):
        base = processor_s("numpy, redis", compiled)
        times.append(processor_s(f"prepal.cli.main, {module}", compiled) / base)
    assert median(times) <= 2


def test_whoever_learns_loads_no_scikit_learn_before_there_is_anything_to_learn() -> None:
    code = LOADED.format(module="prepal.learner.process")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(shown.stdout.split()) & {"cleanlab", "matplotlib", "sklearn", "torch"}


def processor_s(modules: str, compiled: Path) -> float:
    """Seconds of processor time of a process that loads these modules and ends."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", f"import {modules}"]
    subprocess.run(command, env={**environment, "PYTHONPYCACHEPREFIX": str(compiled)}, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
