"""Data flows one way: a module imports from lower packages only, or along an import that is listed here."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import click

import bncheck
from bncheck.cli.main import main

PACKAGE = Path(bncheck.__file__).parent
TESTS = Path(__file__).parent

# From the lowest level up; a name is a package of bncheck, or one of its top modules.
LEVELS = (
    ("errors",),
    ("guide",),
    ("model",),
    ("numerical",),
    ("targets",),
    ("derivation",),
    ("mistakes",),
    ("diagnosis",),
    ("execution",),
    ("checking",),
    ("sweeps", "selftest"),
    ("render",),
    ("testing",),
    ("cli",),
)
# Imports within a package are free, but for these packages they must not form a circle: see below.
ENTRY_POINTS = {"__init__", "__main__"}
# The packages that may import a third-party package; None: any may.
ALLOWED_IMPORTS = {
    "click": {"cli"},
    "rich": {"cli", "render"},
    "matplotlib": {"render"},
    "numpy": None,
    "distributed": {"execution"},
}


def level_of(module: str) -> int:
    return next(number for number, modules in enumerate(LEVELS) if module in modules)


def imports(*, at_run_time: bool = False) -> Iterator[tuple[Path, str, str]]:
    """Yield (file, its package or top module, imported module) for every import statement of bncheck.

    With ``at_run_time`` imports for type checkers are left out.
    """
    for path in sorted(PACKAGE.rglob("*.py")):
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if at_run_time:
            tree.body = [
                node
                for node in tree.body
                if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
            ]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield path, own, alias.name
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                module = node.module or ""
                if (PACKAGE.parent / module.replace(".", "/")).is_dir():  # what is imported may be a module of it
                    yield from ((path, own, f"{module}.{alias.name}") for alias in node.names)
                else:
                    yield path, own, module


def test_every_module_belongs_to_a_level() -> None:
    modules = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert modules - ENTRY_POINTS == {module for level in LEVELS for module in level}


def test_only_four_modules_are_outside_the_packages() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == {*ENTRY_POINTS, "errors", "testing"}


def test_no_module_imports_from_a_higher_level() -> None:
    for path, own, module in imports():
        if not module.startswith("bncheck.") or own in ENTRY_POINTS:
            continue
        other = module.split(".")[1]
        assert other == own or level_of(other) < level_of(own), f"{path} imports {module}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for path, _, module in imports(at_run_time=True):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        target = module if module in names else module.rpartition(".")[0]
        if target in names and path.name != "__init__.py":
            graph.setdefault(name, set()).add(target)
    finished: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name not in finished:
            for other in sorted(graph.get(name, ())):
                visit(other, (*above, name))
            finished.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_a_module_and_a_function_of_its_package_have_different_names() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {
            alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
        }
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        modules = {p.stem for p in path.parent.glob("*.py")} | {p.name for p in path.parent.iterdir() if p.is_dir()}
        assert not (imported | defined) & modules, path


def test_third_party_packages_are_imported_only_where_they_are_allowed() -> None:
    for path, own, module in imports():
        package = module.split(".")[0]
        if package not in sys.stdlib_module_names | {"bncheck"}:
            allowed = ALLOWED_IMPORTS[package]
            assert allowed is None or own in allowed, f"{path} imports {module}"


def test_no_test_module_imports_another() -> None:
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            else:
                continue
            for module in modules:
                names = module.split(".")
                assert names[0] != "tests" or not any(n.startswith("test_") or n == "conftest" for n in names), (
                    f"{path} imports {module}; move what both need to a module whose name does not start with test_"
                )


def test_only_the_two_tables_of_lazy_imports_import_a_module_by_its_name() -> None:
    importers = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("import_module", "__import__")
    }
    assert importers == {"__init__.py", "cli/main.py"}
    assert all(hasattr(bncheck, name) for name in bncheck.__all__)
    assert all(main.get_command(click.Context(main), name) for name in main.list_commands(click.Context(main)))
