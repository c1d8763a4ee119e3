"""Loading a target: a file or a module, which runs its code and is therefore done in a child process."""

import glob
import importlib
import os
import re
import shlex
import sys
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from bncheck.errors import InvalidInput, TargetError
from bncheck.targets import BUILT_IN
from bncheck.targets.exceptions import format_exception

# Checks the functions of a notebook in its own kernel.
IN_NOTEBOOK = "bncheck.check(bncheck.random_problem(8, 5, 4), globals())"

# Messages of a SyntaxError, and modules, that only Python 2 code gives rise to.
PYTHON_2_SYNTAX = re.compile(
    r"Missing parentheses in call to|multiple exception types must be parenthesized|leading zeros in decimal integer"
)
PYTHON_2_MODULES = {"cPickle", "urllib2", "StringIO", "Queue", "ConfigParser", "Tkinter"}


def expand_pattern(target: str) -> list[str]:
    """Return the targets that match a shell pattern; a target that is not a pattern is returned unchanged.

    Raises
    ------
    InvalidInput
        The pattern matches nothing, or the target is neither a Python file, a module nor built in.
    """
    path, name = split(target)
    if target in BUILT_IN:  # also if a file or directory has the same name
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
    """Raise InvalidInput if a path cannot be loaded as a Python file; the message states what the path is."""
    if not os.path.exists(path):
        raise InvalidInput(f"no such file: {path!r}{_suggestion(path + '.py')}")
    if os.path.isdir(path):
        kind = f"a directory; name a file in it, such as {shlex.quote(os.path.join(path, '*.py'))}"
    elif not os.path.isfile(path):
        kind = "not a regular file; name a .py file"
    elif path.endswith(".ipynb"):
        kind = f"a notebook, which bncheck does not load; in one of its cells, run {IN_NOTEBOOK}"
    elif not path.endswith(".py"):
        renamed = f"{os.path.splitext(path)[0]}.py"
        kind = "not a .py file" + (_suggestion(renamed) or f"; if it contains Python code, rename it to {renamed!r}")
    else:
        return
    raise InvalidInput(f"{path!r} is {kind}")


def _suggestion(path: str) -> str:
    """Return a question to append to a message if that file exists."""
    return f"; did you mean {path!r}?" if os.path.isfile(path) else ""


def _is_dotted_name(target: str) -> bool:
    return all(map(str.isidentifier, target.split(".")))


def _is_module(target: str) -> bool:
    """Return whether a dotted name can be imported from the working directory, without running any code.

    A directory without ``__init__.py`` is a namespace package, which contains nothing to check.
    """
    if not _is_dotted_name(target):
        return False
    directories: list[str] = [os.getcwd(), *sys.path]
    spec = None
    for name in target.split("."):
        spec = PathFinder.find_spec(name, directories)
        if spec is None:
            return False
        directories = list(spec.submodule_search_locations or ())
    return spec is not None and spec.loader is not None


def is_path(target: str) -> bool:
    """Return whether a target is a path and not a module: it ends in .py, or contains a separator."""
    return target.endswith(".py") or os.sep in target or "/" in target


def split(target: str) -> tuple[str, str]:
    """Split a target such as "layers.py:solution_b" into the file or module and the name in it, which may be empty."""
    path, colon, name = target.rpartition(":")
    return (path, name) if colon and name.isidentifier() and len(path) > 1 else (target, "")


def load(target: str) -> Any:
    """Import a file or module, and return it or the object that the name after the colon refers to.

    Every exception is that of the code, also a KeyboardInterrupt: this runs in a child process, which Ctrl-C does not
    reach.

    Parameters
    ----------
    target : str
        A file or module, with an optional name: "layers.py:solution_b".

    Raises
    ------
    TargetError
        It cannot be imported, or does not have that name.
    """
    path, name = split(target)
    try:
        module = _import_file(path) if is_path(path) else _import_module(path)
    except SyntaxError as error:
        raise TargetError(_describe_syntax_error(error, path)) from error
    except ImportError as error:
        raise TargetError(_describe_import_error(error, path)) from error
    except BaseException as error:
        raise TargetError(format_exception(path, error)) from error
    if not name:
        return module
    try:
        return getattr(module, name)
    except AttributeError:
        raise TargetError(f"{path} does not define {name!r}") from None
    except BaseException as error:
        raise TargetError(format_exception(f"reading {name} of {path}", error)) from error


def _import_module(module: str) -> ModuleType:
    """Import a module from the working directory, or an installed one."""
    sys.path.insert(0, os.getcwd())
    return importlib.import_module(module)


def _import_file(target: str) -> ModuleType:
    """Import a file from its own directory; if its imports fail, from the root of its package."""
    import importlib.util  # noqa: PLC0415 - slow import, only needed in the child process
    from pathlib import Path  # noqa: PLC0415 - slow import, only needed in the child process

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
        return sys.modules.get(name, module)  # a module may replace or remove itself there
    except ImportError as error:
        sys.modules.pop(name, None)
        imports_own_package = error.name is not None and error.name.split(".")[0] in path.parts
        if not imports_own_package and "relative import" not in str(error):
            raise
        root = path.parent.parent
        while (root / "__init__.py").exists():
            root = root.parent
        sys.path[0] = str(root)
        dotted = ".".join(path.relative_to(root).with_suffix("").parts)
        try:
            return importlib.import_module(dotted)
        except ModuleNotFoundError as second:
            if not second.name or not dotted.startswith(second.name):
                raise
            sys.path[0] = str(path.parent)
        raise  # the package cannot be imported, so that the first error is the helpful one


def _describe_syntax_error(error: SyntaxError, path: str) -> str:
    """Return a one-line message about a file that cannot be parsed: the target, or a file that it imports."""
    if not error.filename:
        return format_exception(path, error)
    name = path if os.path.basename(error.filename) == os.path.basename(path) else os.path.basename(error.filename)
    if isinstance(error, TabError):
        return f"{name} mixes tabs and spaces (line {error.lineno})"
    if PYTHON_2_SYNTAX.search(error.msg):
        return f"{name} is written for Python 2 (line {error.lineno}: {error.msg})"
    return f"{name}, line {error.lineno}: syntax error: {error.msg}"


def _describe_import_error(error: ImportError, path: str) -> str:
    """Return a one-line message about an import that failed: of the target itself, or inside it."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.split(".")[0]
        if package in PYTHON_2_MODULES:
            return f"{path} is written for Python 2 (it imports {error.name!r})"
        if not is_path(path) and f"{path}.".startswith(f"{error.name}."):
            return f"no module named {error.name!r}; to check a file, include its .py suffix"
        file = path if is_path(path) else path.replace(".", os.sep)
        missing = f"{path} imports {error.name!r}, which is neither installed"
        if package in os.path.realpath(file).split(os.sep):  # by its name, a module of the target's own package
            return f"{missing} nor in its package"
        return f"{missing} (pip install {package}) nor in the same directory"
    if "relative import" in str(error):
        module = ".".join(os.path.splitext(path)[0].split(os.sep)[-2:])
        return f"{path} imports from its package ({error}); pass it as a module: bncheck run {module}"
    return format_exception(path, error)
