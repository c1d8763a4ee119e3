"""Loading a file or a module that is not ours; done in a process of its own."""

import glob
import importlib
import os
import re
import shlex
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from bncheck.errors import InvalidInput, TargetError
from bncheck.targets import BUILT_IN
from bncheck.targets.calling import format_exception

# The functions of a notebook are in the namespace of its kernel, not in a file that can be imported.
IN_NOTEBOOK = "bncheck.check(bncheck.random_problem(8, 5, 4), globals())"

PYTHON_2 = re.compile(
    r"Missing parentheses in call to|multiple exception types must be parenthesized|leading zeros in decimal integer"
)


PYTHON_2_MODULES = {"cPickle", "urllib2", "StringIO", "Queue", "ConfigParser", "Tkinter"}


def expand_pattern(target: str) -> list[str]:
    """Return the targets that a shell glob stands for; anything else as it is.

    Raises
    ------
    InvalidInput
        The pattern matches nothing, or the target is neither a Python file, a module nor built in.
    """
    path, name = split(target)
    if target in BUILT_IN:  # even if a file or folder has the same name
        return [target]
    if glob.has_magic(path) and not os.path.exists(path):
        files = [file for file in sorted(glob.glob(path, recursive=True)) if os.path.isfile(file)]
        if not files:
            raise InvalidInput(f"no file matches {target!r}")
        for file in files:
            _require_python_file(file)
        return [f"{file}:{name}" if name else file for file in files]
    if is_path(path) or (os.path.exists(path) and not _is_module(path)):
        _require_python_file(path)
    elif not _is_dotted_name(path):
        raise InvalidInput(
            f"unknown target {target!r}: expected a .py file, a module, reference or staged{_suggestion(path + '.py')}"
        )
    return [target]


def _require_python_file(path: str) -> None:
    """Refuse a path that cannot be loaded as a Python file: the message states what the path is."""
    if os.path.isdir(path):
        pattern = shlex.quote(os.path.join(path, "*.py"))
        raise InvalidInput(f"{path!r} is a directory; name a file in it, such as {pattern}")
    if not os.path.exists(path):
        raise InvalidInput(f"no such file: {path!r}{_suggestion(path + '.py')}")
    if not os.path.isfile(path):
        raise InvalidInput(f"{path!r} is not a regular file; name a .py file")
    if path.endswith(".ipynb"):
        raise InvalidInput(
            f"{path!r} is a notebook, which bncheck does not load; in one of its cells, run {IN_NOTEBOOK}"
        )
    if not path.endswith(".py"):
        renamed = f"{os.path.splitext(path)[0]}.py"
        suggestion = _suggestion(renamed) or f"; if it contains Python code, rename it to {renamed!r}"
        raise InvalidInput(f"{path!r} is not a .py file{suggestion}")


def _suggestion(path: str) -> str:
    """Return a question to append to a message if that file exists."""
    return f"; did you mean {path!r}?" if os.path.isfile(path) else ""


def _is_dotted_name(target: str) -> bool:
    return all(map(str.isidentifier, target.split(".")))


def _is_module(target: str) -> bool:
    """Tell whether a dotted name can be imported from the working directory; nothing is run to find out.

    A folder without ``__init__.py`` is a namespace to Python, but contains nothing to check.
    """
    if not _is_dotted_name(target):
        return False
    folders: list[str] = [os.getcwd(), *sys.path]
    spec = None
    for name in target.split("."):
        spec = PathFinder.find_spec(name, folders)
        if spec is None:
            return False
        folders = list(spec.submodule_search_locations or ())
    return spec is not None and spec.loader is not None


def is_path(target: str) -> bool:
    """Tell a path from a module: it ends in .py, or names a folder."""
    return target.endswith(".py") or os.sep in target or "/" in target


def split(target: str) -> tuple[str, str]:
    """Return the file or module, and the name in it: "layers.py:solution_b"."""
    path, colon, name = target.rpartition(":")
    return (path, name) if colon and name.isidentifier() and len(path) > 1 else (target, "")


def load(target: str, interrupted: Callable[[], bool]) -> Any:
    """Import a file or module and return it, or what the name after the colon stands for.

    ``interrupted`` tells Ctrl-C from a KeyboardInterrupt that the code raises itself.

    Raises
    ------
    TargetError
        It does not load, or has no such name.
    """
    path, name = split(target)
    try:
        module = _from_file(path) if is_path(path) else _from_path(path)
    except SyntaxError as error:
        raise TargetError(_syntax(error) if error.filename else format_exception("importing it", error)) from error
    except ImportError as error:
        raise TargetError(_import(error, path)) from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and interrupted():
            raise
        raise TargetError(format_exception("importing it", error)) from error
    if not name:
        return module
    if not hasattr(module, name):
        raise TargetError(f"it has no {name!r}")
    return getattr(module, name)


def _from_path(module: str) -> ModuleType:
    sys.path.insert(0, os.getcwd())
    return importlib.import_module(module)


def _from_file(target: str) -> ModuleType:
    """Run a file from its own folder and, where its imports fail, from its package's root."""
    import importlib.util  # noqa: PLC0415 - of no use where nothing is loaded
    from pathlib import Path  # noqa: PLC0415 - likewise

    path = Path(target).resolve()
    os.chdir(path.parent)
    sys.path.insert(0, str(path.parent))
    try:
        # A file may have the name of a module that is needed, such as random.py.
        name = f"target_{path.stem}" if path.stem in {*sys.modules, *sys.stdlib_module_names} else path.stem
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return sys.modules[name]  # which it may have put another module for
    except ImportError as error:
        sys.modules.pop(name, None)
        own = error.name is not None and error.name.split(".")[0] in path.parts
        if not own and "relative import" not in str(error):
            raise
        root = path.parent.parent
        while (root / "__init__.py").exists():
            root = root.parent
        sys.path[0] = str(root)
        dotted = ".".join(path.relative_to(root).with_suffix("").parts)
        try:
            return importlib.import_module(dotted)
        except ModuleNotFoundError as second:
            if second.name and dotted.startswith(second.name):
                sys.path[0] = str(path.parent)
            else:
                raise
        raise


def _syntax(error: SyntaxError) -> str:
    where = f"{os.path.basename(error.filename or '')}, line {error.lineno}: {error.msg}"
    if isinstance(error, TabError):
        return f"it mixes tabs and spaces ({where})"
    if PYTHON_2.search(error.msg):
        return f"it is written for Python 2 ({where})"
    return f"it does not parse ({where})"


def _import(error: ImportError, path: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        top = error.name.split(".")[0]
        if top in PYTHON_2_MODULES:
            return f"it is written for Python 2 (it needs the module {error.name!r})"
        if not is_path(path) and f"{path}.".startswith(f"{error.name}."):
            return f"no module named {error.name!r}; to check a file, include its .py suffix"
        place = path if is_path(path) else path.replace(".", os.sep)
        if top in os.path.realpath(place).split(os.sep):  # a part of its own package, as far as the names tell
            return f"it imports {error.name!r}, which is neither installed nor in its package"
        return f"it imports {error.name!r}, which is neither installed (pip install {top}?) nor in the same folder"
    if "relative import" in str(error):
        module = ".".join(os.path.splitext(path)[0].split(os.sep)[-2:])
        return f"it imports from its package ({error}); name it as a module: bncheck run {module}"
    return format_exception("importing it", error)
