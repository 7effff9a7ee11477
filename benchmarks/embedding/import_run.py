"""From import to ranking: everything on one machine, with a Label Studio of its own, beside `encode` alone."""

import re
import tempfile
import time
from pathlib import Path

import redis
import torch
from rich.console import Console
from sentence_transformers import SentenceTransformer

from benchmarks.embedding.encoding import best_batch
from benchmarks.sections import Goal
from benchmarks.storage import Record
from prepal import settings as settings_table
from prepal.label_studio.client import LabelStudio
from prepal.label_studio.connect import connect
from prepal.machine.up import Installation, running
from prepal.project import Project
from prepal.queues.requests import request_sync
from prepal.queues.waiting import WaitingTexts
from prepal_workers.encoder.encoder import Encoder
from prepal_workers.encoder.precision import converted
from prepal_workers.encoder.weights import DEFAULT_ENCODER, source

TASKS = 10_000
FIRST_S, TIMES_ENCODE = 60.0, 1.2
_IMPORT_AT_ONCE, _POLL_S, _ENOUGH_S = 1000, 0.2, 1800.0
_EMBEDDED = re.compile(r"(\d+) of \d+ texts embedded in")
_CONFIG = """<View><Text name="text" value="$text"/><Choices name="topic" toName="text"><Choice value="World"/>
<Choice value="Sports"/><Choice value="Business"/><Choice value="Technology"/></Choices></View>"""


def run(texts: dict[str, list[str]], console: Console) -> Record:
    """Import into a fresh installation, then once more into another project; and encode alone."""
    some = [text for of in texts.values() for text in of[: TASKS // len(texts)]]
    found: Record = {"texts": len(some)}
    with tempfile.TemporaryDirectory() as home, console.status("starting") as status:
        settings = settings_table.load()
        with running(Path(home), settings, progress=lambda said: status.update(str(said))) as there:
            connection = redis.Redis.from_url(there.redis_url)
            label_studio = LabelStudio(there.label_studio_url, there.label_studio_token)
            embedded = WaitingTexts(connection, settings.prepal_encoder)
            for name in ("first", "again"):
                status.update(f"{name} import")
                project = import_texts(connection, label_studio, there, name, _CONFIG, some)
                found[name] = _follow(project, embedded, len(some))
            log = (there.logs / "embed.log").read_text(errors="replace")
    found["embedded"] = sum(int(count) for count in _EMBEDDED.findall(log))
    found["different"] = len(set(some))
    model = SentenceTransformer(source(DEFAULT_ENCODER), device="cpu")
    dtype = Encoder(DEFAULT_ENCODER, device="cpu").dtype
    theirs = model if dtype == torch.float32 else converted(model, dtype)
    batch = best_batch(theirs, some)
    with console.status("encode alone"):
        began = time.perf_counter()
        theirs.encode(some, batch_size=batch, show_progress_bar=False)
        found["encode_s"] = round(time.perf_counter() - began, 2)
    return found | {"batch": batch, "precision": str(dtype).removeprefix("torch.")}


def import_texts(
    connection: redis.Redis,
    label_studio: LabelStudio,
    there: Installation,
    name: str,
    config: str,
    texts: list[str],
) -> tuple[Project, float]:
    """A connected project with this label config that tasks are being imported into; and when that began."""
    number = label_studio.create_project(name, config)
    project = Project(connection, number)
    connect(project, label_studio, there.backend_url, there.backend_user, there.backend_password)
    began = time.monotonic()
    for at in range(0, len(texts), _IMPORT_AT_ONCE):
        label_studio.import_tasks(number, [{"text": text} for text in texts[at : at + _IMPORT_AT_ONCE]])
        request_sync(connection, number)
    return project, began


def _follow(imported: tuple[Project, float], waiting: WaitingTexts, count: int) -> Record:
    """Seconds from import to the first published ranking, and until all is embedded and ranked."""
    project, began = imported
    found: Record = {}
    while time.monotonic() < began + _ENOUGH_S:
        seconds = round(time.monotonic() - began, 2)
        if "first_s" not in found and len(project.predictions):
            found["first_s"] = seconds
        last = project.round
        if last is not None and last.ranked >= count and not len(waiting):
            found["ranked_s"] = seconds
            if "first_s" in found:
                return found
        time.sleep(_POLL_S)
    raise RuntimeError(f"Project {project.id} was not ranked within {_ENOUGH_S:.0f} s.")


def goals(stored: Record) -> list[Goal]:
    """The first two bind, as does that nothing is embedded twice."""
    times = stored["first"]["ranked_s"] / stored["encode_s"]
    return [
        Goal(
            f"import of {stored['texts']:,} tasks to the first ranking, s",
            stored["first"]["first_s"],
            FIRST_S,
            False,
            1,
        ),
        Goal("to all embedded and ranked, times what encode alone takes", times, TIMES_ENCODE, at_least=False),
        Goal("texts embedded, times different texts, after a second import", _times(stored), 1.0, False, 4),
    ]


def _times(stored: Record) -> float:
    # The names of the choices are embedded too.
    return (int(stored["embedded"]) - _CONFIG.count("<Choice ")) / int(stored["different"])


def section(stored: Record) -> str:
    """What was done."""
    first, again = stored["first"], stored["again"]
    return (
        "### From import to ranking\n\n"
        f"`prepal up` with its own Label Studio, {stored['texts']:,} tasks, half of them ag_news, half banking77. The"
        f" first ranking was published after {first['first_s']} s, all were ranked after {first['ranked_s']} s, import"
        f" included; `encode` alone, in {stored['precision']} with its best batch size ({stored['batch']}), took "
        f"{stored['encode_s']} s on the idle machine. The same texts in another project were ranked after "
        f"{again['ranked_s']} s, {stored['embedded']:,} texts were embedded in all."
    )
