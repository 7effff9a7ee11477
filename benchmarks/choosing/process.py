"""Runs rounds of one contestant in a process of its own, and tells their times and the process's memory.

`python -m benchmarks.choosing.process` reads a `Job` as JSON and writes a `Measured` as JSON; `measure` calls it.
"""

import importlib.abc
import json
import os
import resource
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

_REPOSITORY = Path(__file__).parents[2]
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Job:
    """What to measure.

    Attributes:
        library: of the contestant.
        strategy: of the contestant.
        folder: with float16.npy, float32.npy and labels.npy.
        n_classes: the number of classes.
        head: how many texts each round chooses.
        counts: how many labels there are in each round, ascending; new ones go to the first texts that were chosen
            last. The first round is a warm-up.
        enough_s: no further round is begun when the rounds after the first took so long; 0 to have all of them.
        memory_limit_mb: of the process, 0 for none.
        cpu_limit_s: of the process, 0 for none. With one, rounds are told in seconds of the processor, which do not
            depend on what else runs on the machine.
    """

    library: str
    strategy: str
    folder: str
    n_classes: int
    head: int
    counts: list[int]
    enough_s: float = 0.0
    memory_limit_mb: int = 0
    cpu_limit_s: int = 0


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        seconds: of each round but the first; refit, scores and head.
        first_s: of the first.
        peak_mb: the most memory that the process held, the vectors included.
        before_mb: what it held with the library loaded, before the vectors were.
        error: why there is nothing of the above.
    """

    seconds: list[float] = field(default_factory=list)
    first_s: float = 0.0
    peak_mb: float = 0.0
    before_mb: float = 0.0
    error: str = ""


def measure(job: Job, environment: dict[str, str] | None = None) -> Measured:
    """Run a job in a fresh process; whatever goes wrong there becomes `Measured.error`."""
    command = [sys.executable, "-m", "benchmarks.choosing.process"]
    ended = subprocess.run(
        command,
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        cwd=_REPOSITORY,
        env=os.environ | (environment or {}),
        check=False,
    )
    if ended.returncode == -signal.SIGXCPU:
        return Measured(error=f"did not end within {job.cpu_limit_s} s of the processor")
    if ended.returncode:
        said = ended.stderr.strip().splitlines() or [f"ended with status {ended.returncode}"]
        return Measured(error=said[-1])
    return Measured(**json.loads(ended.stdout))


class _NoTorch(importlib.abc.MetaPathFinder):
    """Both peers load torch where it is installed, which here would only count against their memory."""

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> None:
        if fullname.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def _run(job: Job) -> Measured:
    from benchmarks.choosing.contestants.contestant import OURS, Contestant
    from benchmarks.choosing.contestants.entry import enter
    from benchmarks.texts import Texts

    folder, ours = Path(job.folder), job.library == OURS
    now = time.process_time if job.cpu_limit_s else time.perf_counter
    labels = np.load(folder / "labels.npy")
    contestant = Contestant(job.library, job.strategy)
    enter(contestant, Texts(np.zeros((2, 2), np.float32), job.n_classes), 0)  # loads the library
    before_mb = memory_mb("VmRSS")
    vectors = np.load(folder / ("float16.npy" if ours else "float32.npy"))
    # Made-up classes have no names; any vectors take as long as theirs would.
    names = np.stack(
        [vectors[np.flatnonzero(labels == c)[:50]].mean(axis=0, dtype=np.float32) for c in range(job.n_classes)]
    )
    chooser = enter(contestant, Texts(vectors, job.n_classes, names), 0)
    labelled, head, seconds = np.empty(0, np.int64), np.empty(0, np.int64), []
    for count in job.counts:
        if job.enough_s and sum(seconds[1:]) > job.enough_s:
            break
        new = count - len(labelled)
        # The texts are in random order, so the first ones are a random start.
        labelled = np.concatenate([labelled, head[:new] if len(head) else np.arange(new)])
        began = now()
        head = chooser.choose(labelled, labels[labelled], job.head)
        seconds.append(now() - began)
        if len(np.unique(head)) != job.head or np.isin(head, labelled).any():
            raise ValueError(f"did not choose {job.head} different texts without a label")
    return Measured(seconds[1:], seconds[0], memory_mb("VmHWM"), before_mb)


def memory_mb(name: str) -> float:
    """Return how much memory this process holds (VmRSS), or held at most (VmHWM)."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"{_STATUS} has no {name}.")


def _main() -> None:
    sys.meta_path.insert(0, _NoTorch())
    warnings.simplefilter("ignore")
    job = Job(**json.load(sys.stdin))
    if job.memory_limit_mb:
        limit = job.memory_limit_mb * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    if job.cpu_limit_s:
        resource.setrlimit(resource.RLIMIT_CPU, (job.cpu_limit_s, job.cpu_limit_s + 1))
    measured = _run(job)
    sys.stdout.write(json.dumps(asdict(measured)))


if __name__ == "__main__":
    _main()
