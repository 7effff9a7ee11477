"""Tells whether the code that decided a measurement is still the same, wherever it stands now."""

import ast
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import prepal

LEARNING = Path(prepal.__file__).parent / "learning"
_PACKAGE = "prepal.learning"


def fingerprint(names: Iterable[str], folder: Path = LEARNING) -> str:
    """Return 8 hexadecimal digits that change when code of `prepal.learning` does on which definitions of it rest.

    A definition rests on those that it uses, on those that these use, and so on; and on what each name in them stands
    for, here or in another library. Which module holds a definition, their order, comments, docstrings and annotations
    do not count; nor does the registry of strategies, which only finds one by its name.

    Args:
        names: of the definitions, as `ActiveLearner`; where a name is defined in several modules, as `margin.STRATEGY`.
        folder: of the package.
    """
    code = _Code(folder)
    wanted = [code.find(name) for name in names]
    links: dict[str, set[str]] = {}
    while wanted:
        place = wanted.pop()
        if place not in links:
            used = code.used_by(place)
            links[place] = {f"{name} is {code.text.get(origin, origin)}" for name, origin in used.items()}
            wanted += [origin for origin in used.values() if origin in code.text]
    # Two definitions that are called the same are told apart by what they are linked with.
    lines = {"\n".join([code.text[place], *sorted(linked)]) for place, linked in links.items()}
    return sha256("\n\n".join(sorted(lines)).encode()).hexdigest()[:8]


class _Code:
    """The top-level statements of a package, by module and name.

    Attributes:
        text: of the statement that defines "prepal.learning.pool.best", say. Those that define nothing have numbers.
    """

    def __init__(self, folder: Path) -> None:
        self.text: dict[str, str] = {}
        self._statements: dict[str, ast.stmt] = {}
        self._imports: dict[str, str] = {}  # where "prepal.learning.pool.np" comes from: "numpy"
        for path in folder.rglob("*.py"):
            if path.name != "__init__.py":
                module = ".".join([_PACKAGE, *path.relative_to(folder).with_suffix("").parts])
                self._read(module, ast.parse(path.read_text(encoding="utf-8")))

    def find(self, name: str) -> str:
        """Return the place of a definition whose name, perhaps after its module's, is given."""
        places = [place for place in self.text if place.endswith(f".{name}")]
        if len(places) != 1:
            raise ValueError(f"{name!r} must be one definition of {_PACKAGE}, but is {len(places)}: {places}.")
        return places[0]

    def used_by(self, place: str) -> dict[str, str]:
        """Return what the names that a statement uses stand for: places, and names of other libraries."""
        module = place.rpartition(".")[0]
        own = {place.removeprefix(f"{module}."): place for place in self.text if place.startswith(f"{module}.")}
        used = {name: at for name, at in own.items() if name.isdigit()}
        for node in ast.walk(self._statements[place]):
            if isinstance(node, ast.Name):
                used[node.id] = self._origin(f"{module}.{node.id}")
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                imported = self._imports.get(f"{module}.{node.value.id}")
                used[f"{node.value.id}.{node.attr}"] = self._origin(f"{imported}.{node.attr}")
        # What is left are built-ins, local variables, modules of this package and its registry.
        return {n: at for n, at in used.items() if at in self.text or (at and not at.startswith((_PACKAGE, "None.")))}

    def _origin(self, place: str) -> str:
        while place in self._imports:
            place = self._imports[place]
        return place

    def _read(self, module: str, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                self._imports |= {f"{module}.{a.asname or a.name}": f"{node.module}.{a.name}" for a in node.names}
            elif isinstance(node, ast.Import):
                self._imports |= {f"{module}.{a.asname or a.name}": a.name for a in node.names}
        for number, statement in enumerate(_Bare().visit(tree).body):
            if ast.unparse(statement).startswith("if TYPE_CHECKING:"):
                continue
            for name in _defined(statement) or [str(number)]:
                place = f"{module}.{name}"
                # A second definition of a name counts as a statement of the module.
                place = f"{module}.{number}" if place in self.text else place
                self.text[place], self._statements[place] = ast.unparse(statement), statement


class _Bare(ast.NodeTransformer):
    """Takes away what decides no result: imports, docstrings, annotations."""

    def visit_Import(self, _: ast.Import) -> None: ...
    def visit_ImportFrom(self, _: ast.ImportFrom) -> None: ...

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return []
    return [node.id for target in targets if target for node in ast.walk(target) if isinstance(node, ast.Name)]
