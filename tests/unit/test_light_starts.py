"""What people wait for before a command says a word: what it loads is named here, and nothing else may come."""

import subprocess
import sys

import pytest

# What commands are made of, and the parts that Redis, RQ and settings need.
COMMON = {
    *("annotated_types", "attr", "certifi", "charset_normalizer", "click", "defusedxml", "dotenv", "idna", "numpy"),
    *("orjson", "pydantic", "pydantic_core", "pydantic_settings", "pythonjsonlogger", "redis", "rich", "rq"),
    *("typing_extensions", "typing_inspection"),
}
HTTP = {"anyio", "h11", "httpcore", "httpx", "packaging", "pygments", "requests", "socksio", "urllib3", "zstandard"}
SERVER = {
    *("appdirs", "blinker", "colorama", "cython_runtime", "flask", "gunicorn", "importlib_metadata", "itsdangerous"),
    *("jinja2", "label_studio_ml", "label_studio_tools", "lxml", "markupsafe", "prometheus_client", "pygal"),
    *("requests", "urllib3", "werkzeug", "zipp"),
}
MAY_LOAD = {
    "prepal.cli.main": COMMON | {"gunicorn"},
    "prepal.reports.status": COMMON,
    "prepal.doctor.upkeep": COMMON,
    "prepal.label_studio.connect": COMMON | HTTP,
    "prepal.doctor": COMMON | HTTP | {"cython_runtime", "threadpoolctl"},
    "prepal.label_studio.client": COMMON | HTTP,
    "prepal.server.app": COMMON | SERVER,
}
LOADED = """
import sys
import {module}

own = set(sys.stdlib_module_names) | {{"prepal", "__main__"}}
print(*sorted({{name.partition(".")[0] for name in sys.modules}} - own))
"""


@pytest.mark.parametrize("module", MAY_LOAD)
def test_a_command_loads_only_what_it_needs_before_it_says_a_word(module: str) -> None:
    code = LOADED.format(module=module)
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in shown.stdout.split() if not name.startswith(("_", "sitecustomize"))}
    assert loaded <= MAY_LOAD[module]


def test_whoever_learns_loads_no_scikit_learn_before_there_is_anything_to_learn() -> None:
    code = LOADED.format(module="prepal.learner.process")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(shown.stdout.split()) & {"cleanlab", "matplotlib", "sklearn", "torch"}
