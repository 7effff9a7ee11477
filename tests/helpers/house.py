"""The house as README.md and ARCHITECTURE.md show it: every folder by the first line of its `__init__.py`.

`python -m tests.helpers.house` writes it into both.
"""

import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import Path

from tests.helpers import ROOT

PACKAGES = {"prepal": ROOT / "backend" / "prepal", "prepal_workers": ROOT / "workers" / "prepal_workers"}
DOCUMENTS = {"README.md": 1, "ARCHITECTURE.md": 3}
"""How deep each document goes."""
_BLOCK = re.compile(r"(<!-- house: .*? -->\n```\n).*?(```\n<!-- house end -->)", re.DOTALL)


def house(depth: int) -> str:
    """Return the folders of both packages in the order of their imports, the ones that use the others first."""
    rows = [row for name, folder in PACKAGES.items() for row in _rows(name, folder, depth)]
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name:{width}}  {line}\n" for name, line in rows)


def of(document: str) -> str:
    """Return the house that a document shows."""
    found = _BLOCK.search((ROOT / document).read_text(encoding="utf-8"))
    assert found, f"{document} shows no house"
    return found.group(0).removeprefix(found.group(1)).removesuffix(found.group(2))


def write() -> None:
    """Put the house into each document."""
    for document, depth in DOCUMENTS.items():
        path = ROOT / document
        shown = _BLOCK.sub(lambda block, depth=depth: block[1] + house(depth) + block[2], path.read_text("utf-8"))
        path.write_text(shown, encoding="utf-8")


def _rows(package: str, folder: Path, depth: int) -> Iterator[tuple[str, str]]:
    level = package.count(".")
    name = f"{folder.relative_to(ROOT)}/" if not level else f"{'    ' * level}{folder.name}/"
    yield name, _first_line(folder)
    if level < depth:
        inner = [one.parent for one in folder.glob("*/__init__.py")]
        for one in sorted(inner, key=lambda one: (_order(package).get(one.name, 0), one.name)):
            yield from _rows(f"{package}.{one.name}", one, depth)


def _first_line(folder: Path) -> str:
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    assert text, f"{folder} does not say what it is for"
    return text.splitlines()[0]


def _order(package: str) -> dict[str, int]:
    """The layer of each part of a package, the highest first."""
    rules = configparser.ConfigParser()
    rules.read(ROOT / ".importlinter")
    for section in rules.sections():
        if rules.get(section, "containers", fallback="").strip() == package:
            layers = rules[section]["layers"].strip().splitlines()
            return {part.strip(): place for place, layer in enumerate(layers) for part in layer.split("|")}
    return {}


if __name__ == "__main__":
    write()
