"""Loading a file or a module that is not ours; done in a process of its own."""

import glob
import importlib
import os
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from bncheck.errors import InvalidInput, TargetError
from bncheck.targets.calling import raised

PYTHON_2 = re.compile(
    r"Missing parentheses in call to|multiple exception types must be parenthesized|leading zeros in decimal integer"
)


PYTHON_2_MODULES = {"cPickle", "urllib2", "StringIO", "Queue", "ConfigParser", "Tkinter"}


def expanded(target: str) -> list[str]:
    """Return the targets that a shell glob stands for; anything else as it is.

    Raises
    ------
    InvalidInput
        The pattern matches nothing, or a file or folder is not there.
    """
    path, name = split(target)
    if glob.has_magic(path) and not os.path.exists(path):
        found = [file for file in sorted(glob.glob(path, recursive=True)) if os.path.isfile(file)]
        if not found:
            raise InvalidInput(f"no file matches {target!r}")
        return [f"{file}:{name}" if name else file for file in found]
    if is_path(path):
        if os.path.isdir(path):
            raise InvalidInput(f"{path!r} is a folder; name a file in it, or '{os.path.join(path, '*.py')}'")
        if not os.path.isfile(path):
            raise InvalidInput(f"there is no file {path!r}")
        if not path.endswith(".py"):
            raise InvalidInput(f"{path!r} is no Python file: its name does not end in .py")
    elif not all(map(str.isidentifier, path.split("."))):
        raise InvalidInput(f"{target!r} is neither a file ending in .py, a module, reference nor staged")
    return [target]


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
        raise TargetError(_syntax(error) if error.filename else raised("importing it", error)) from error
    except ImportError as error:
        raise TargetError(_import(error, path)) from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and interrupted():
            raise
        raise TargetError(raised("importing it", error)) from error
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
        if top == path.split(".", maxsplit=1)[0] or top in os.path.realpath(path).split(os.sep):
            return (
                f"there is no module {error.name!r}; a file is named with its .py, and bncheck's own: reference, staged"
            )
        return f"it needs the module {error.name!r}, which is not installed here (pip install {top}?) nor beside it"
    if "relative import" in str(error):
        module = ".".join(os.path.splitext(path)[0].split(os.sep)[-2:])
        return f"it imports from its package ({error}); name it as a module: bncheck run {module}"
    return raised("importing it", error)
