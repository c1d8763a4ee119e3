"""The description of a function under test: its parameters, its place, and the names in its code."""

import inspect
import linecache
import os
import re
from functools import partial
from types import CodeType
from typing import Any

from bncheck.model.source import Source
from bncheck.model.version import PACKAGE_DIR
from bncheck.targets.target import Function, Parameter, ParameterKind

# Lines of decorators above a def that are searched for the def.
MAX_DECORATOR_LINES, DEF = 20, re.compile(r"\s*(async\s+)?def\s")
# Names and strings of a function that are collected.
MAX_WORDS = 1000

_KINDS: dict[object, ParameterKind] = {
    inspect.Parameter.VAR_POSITIONAL: ParameterKind.VAR_POSITIONAL,
    inspect.Parameter.KEYWORD_ONLY: ParameterKind.KEYWORD_ONLY,
    inspect.Parameter.VAR_KEYWORD: ParameterKind.VAR_KEYWORD,
}


def describe_function(value: Any) -> Function | None:
    """Describe a function or another callable object; None if a value cannot be called."""
    if not callable(value):
        return None
    try:
        parameters = tuple(
            Parameter(p.name, _KINDS.get(p.kind, ParameterKind.POSITIONAL), p.default is not p.empty)
            for p in inspect.signature(value).parameters.values()
        )
    except (TypeError, ValueError):  # compiled functions have no signature
        parameters = None
    return Function(parameters, inspect.isroutine(value), source_of(value), words_in(value))


def source_of(function: Any) -> Source | None:
    """Return the file and line of a function's def; None if they are unknown, or the function is bncheck's own."""
    try:
        function = inspect.unwrap(function.func if isinstance(function, partial) else function)
        code = getattr(function, "__code__", None) or type(function).__call__.__code__
        if code.co_filename.startswith(("<", f"{PACKAGE_DIR}{os.sep}")):
            return None
        # The code of a decorated function starts at its first decorator.
        lines = range(code.co_firstlineno, code.co_firstlineno + MAX_DECORATOR_LINES)
        defs = (n for n in lines if DEF.match(linecache.getline(code.co_filename, n)))
        return Source(os.path.abspath(code.co_filename), next(defs, code.co_firstlineno))
    except Exception:  # noqa: BLE001 - compiled functions and objects with their own __getattr__ may raise anything
        return None


def words_in(function: Any) -> frozenset[str]:
    """Return the names and strings in the code of a function and of the functions inside it, in lower case."""
    words: set[str] = set()
    pending = [getattr(inspect.unwrap(function), "__code__", None)]
    while pending and len(words) < MAX_WORDS:
        code_object = pending.pop()
        if isinstance(code_object, CodeType):
            strings = {constant for constant in code_object.co_consts if isinstance(constant, str)}
            words |= {*code_object.co_varnames, *code_object.co_names, *filter(str.isidentifier, strings)}
            pending += code_object.co_consts
    return frozenset(word.lower() for word in words)
