"""What lies in the vector cache, who uses it, and how to be rid of the rest."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import redis
from numpy.typing import NDArray

from prepal import vectors
from prepal.errors import PrepalError
from prepal.labels import label_config
from prepal.learning.classifiers.label_names import name_text
from prepal.project import Project, all_projects
from prepal.vectors import FILES, TERMS_TABLE, encoders, files_table, table_name, text_id, text_ids

if TYPE_CHECKING:
    from prepal.vectors import TextTable

_OURS = re.compile(r".*-[0-9a-f]{8}")
_OF_WORDS = "(terms of words)"
ADAPTED = "(adapted encoders)"
"""What stands in place of an encoder where the files of adapted ones are told."""
# Rows that one command deletes.
_AT_ONCE = 1000


@dataclass(frozen=True)
class Stored:
    """One table of the vector cache, or all that hold the files of adapted encoders.

    Attributes:
        table: its name.
        encoder: whose vectors it holds, or that it holds terms or `ADAPTED`; None where nobody needs it.
        rows: texts; of `ADAPTED`, encoders.
        bytes: on disk.
        projects: that use it.
        unused: rows of texts that no project has; of `ADAPTED`, encoders that no project uses.
    """

    table: str
    encoder: str | None
    rows: int
    bytes: int
    projects: list[int]
    unused: int


def survey(connection: redis.Redis, uri: str, encoder: str) -> list[Stored]:
    """All tables of a vector cache; `encoder` is the one of the settings."""
    encoder = encoders.identity(encoder, connection)
    projects = all_projects(connection)
    # Whose ranking rests on an adapted encoder has labels judged by the vectors of the settings' one.
    encoders_of = {
        p.id: p.encoders | ({encoder} if not p.encoder or encoders.is_adapted(p.encoder) else set()) for p in projects
    }
    by_table = {table_name(name): name for name in {encoder}.union(*encoders_of.values())}
    by_table[TERMS_TABLE] = _OF_WORDS
    used = _used_texts(projects)
    found = []
    for name in _tables(uri):
        table = _open(uri, name)
        # Terms are of no encoder, and of use to all projects.
        users = [p for p, used_by in encoders_of.items() if name == TERMS_TABLE or name in map(table_name, used_by)]
        ids = table.ids()
        unused = int((~np.isin(ids, used)).sum())
        found.append(Stored(name, by_table.get(name), len(ids), table.size(), users, unused))
    return found + _adapted(projects, uri)


def _adapted(projects: list[Project], uri: str) -> list[Stored]:
    """The files of adapted encoders, where there are some."""
    store = vectors.AdaptedEncoders(uri)
    tables = set(store.tables())
    if not tables:
        return []
    users = [p.id for p in projects if not tables.isdisjoint(map(files_table, p.encoders))]
    return [Stored(f"*{FILES}", ADAPTED, len(tables), store.size(), users, len(tables - _used_files(projects)))]


def _used_files(projects: list[Project]) -> set[str]:
    """Names of the tables with the files of the encoders that projects use."""
    return {files_table(name) for project in projects for name in project.encoders}


def prune(
    connection: redis.Redis, uri: str, stored: list[Stored], progress: Callable[[str], None] = lambda _: None
) -> None:
    """Delete what nobody uses: tables and files of encoders, and elsewhere the rows of texts that no project has."""
    import lancedb

    projects = all_projects(connection)
    used = _used_texts(projects)
    for one in stored:
        if one.encoder == ADAPTED:
            store = vectors.AdaptedEncoders(uri)
            for name in sorted({*store.tables()} - _used_files(projects)):
                progress(f"{name}: deleted")
                store.drop(name)
            continue
        if one.encoder is None:
            progress(f"{one.table}: deleted")
            lancedb.connect(uri).drop_table(one.table)
            continue
        table = _open(uri, one.table)
        ids = table.ids()
        gone = ids[~np.isin(ids, used)].astype(str).tolist()
        for start in range(0, len(gone), _AT_ONCE):
            progress(f"{one.table}: {start} of {len(gone)} rows deleted")
            table.delete(gone[start : start + _AT_ONCE])
        if gone:
            table.compact()


def _open(uri: str, name: str) -> "TextTable":
    return vectors.TextTable(uri, name, _column(name))


def _column(name: str) -> str:
    """What a table of ours has beside the ids of texts."""
    return "terms" if name == TERMS_TABLE else "vector" if _OURS.fullmatch(name) else ""


def _tables(uri: str) -> list[str]:
    import lancedb

    try:
        database = lancedb.connect(uri)
        names = [str(name) for name in database.list_tables().tables or []]
        ours = [(name, column) for name in names if (column := _column(name))]
        return [name for name, column in ours if database.open_table(name).schema.names == ["id", column]]
    except (RuntimeError, OSError, ValueError) as error:
        raise PrepalError(f"The vector cache {uri} cannot be read ({error}): check PREPAL_VECTORS.") from error


def _used_texts(projects: list[Project]) -> NDArray[np.bytes_]:
    """(n,) S32: ids of the texts of all projects, and of the names of their choices."""
    used = [project.every_text()[1] for project in projects]
    for project in projects:
        config = label_config.parse_or_none(project.info.label_config)
        if config is not None:
            names = [name_text(words) for question in config.questions for words in question.words]
            used.append(text_ids(list(map(text_id, names))))
    texts: NDArray[np.bytes_] = np.unique(np.concatenate([np.empty(0, "S32"), *used]))
    return texts
