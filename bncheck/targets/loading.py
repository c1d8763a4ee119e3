"""Loading a file or a module that is not ours; done in a process of its own."""

import glob
import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from bncheck.errors import InvalidInput, TargetError
from bncheck.targets.calling import raised

PYTHON_2 = re.compile(
    r"Missing parentheses in call to|multiple exception types must be parenthesized"
    r"|leading zeros in decimal integer|inconsistent use of|invalid decimal literal"
)


def expanded(target: str) -> list[str]:
    """Return the targets that a shell glob stands for; anything else as it is.

    Raises
    ------
    InvalidInput
        The pattern matches nothing, or a file or folder is not there.
    """
    path, _ = split(target)
    if glob.has_magic(path) and not Path(path).exists():
        found = sorted(glob.glob(path, recursive=True))
        if not found:
            raise InvalidInput(f"no file matches {target!r}")
        return found
    if is_path(path):
        if Path(path).is_dir():
            raise InvalidInput(f"{path!r} is a folder; name a file in it, or '{Path(path) / '*.py'}'")
        if not Path(path).is_file():
            raise InvalidInput(f"there is no file {path!r}")
    return [target]


def is_path(target: str) -> bool:
    """Tell a path from a module: it ends in .py, or names a folder."""
    return target.endswith(".py") or os.sep in target or "/" in target


def split(target: str) -> tuple[str, str]:
    """Return the file or module, and the name in it: "layers.py:solution_b"."""
    path, colon, name = target.rpartition(":")
    return (path, name) if colon and name.isidentifier() and len(path) > 1 else (target, "")


def load(target: str) -> Any:
    """Import a file or module and return it, or what the name after the colon stands for.

    Raises
    ------
    TargetError
        It does not load, or has no such name.
    """
    path, name = split(target)
    try:
        module = _from_file(Path(path)) if is_path(path) else _from_path(path)
    except SyntaxError as error:
        raise TargetError(_syntax(error)) from error
    except SystemExit as error:
        raise TargetError(f"it calls sys.exit({error.code!r}) when it is imported") from error
    except ImportError as error:
        raise TargetError(_import(error, path)) from error
    except Exception as error:
        raise TargetError(raised("importing it", error)) from error
    if not name:
        return module
    if not hasattr(module, name):
        raise TargetError(f"it has no {name!r}")
    return getattr(module, name)


def _from_path(module: str) -> ModuleType:
    sys.path.insert(0, os.getcwd())
    return importlib.import_module(module)


def _from_file(path: Path) -> ModuleType:
    """Run a file from its own folder and, where its imports fail, from its package's root."""
    path = path.resolve()
    os.chdir(path.parent)
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise TargetError(f"{path.name} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        return module
    except ImportError:
        sys.modules.pop(path.stem, None)
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
    where = f"{Path(error.filename or '').name}, line {error.lineno}: {error.msg}"
    if isinstance(error, TabError):
        return f"it mixes tabs and spaces ({where})"
    if PYTHON_2.search(error.msg):
        return f"it is written for Python 2 ({where})"
    return f"it does not parse ({where})"


def _import(error: ImportError, path: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        top = error.name.split(".")[0]
        return f"it needs the module {error.name!r}, which is not installed here (pip install {top}?) nor beside it"
    if "relative import" in str(error):
        module = ".".join(Path(path).with_suffix("").parts[-2:])
        return f"it imports from its package ({error}); name it as a module: bncheck run {module}"
    return raised("importing it", error)
