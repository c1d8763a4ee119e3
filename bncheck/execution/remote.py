"""A target in a child process: it sends back arrays and text, which are validated here and judged elsewhere."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

from bncheck.errors import NotImplementedYet, TargetEnded, TargetError
from bncheck.execution import messages
from bncheck.execution.child_process import ChildProcess
from bncheck.execution.limits import Limits
from bncheck.execution.messages import AnyArray, Header, MessageError, require_count, require_text, to_json
from bncheck.model.source import Source
from bncheck.targets.arrays import unreadable
from bncheck.targets.loading import split
from bncheck.targets.target import (
    Call,
    FloatArray,
    Function,
    IndexArray,
    Modification,
    PairCall,
    PairReturn,
    Parameter,
    ParameterKind,
    Returned,
    Target,
    Value,
)
from bncheck.targets.usage import Usage

T = TypeVar("T")

# The id and the number of passes of each request without an answer.
Requests: TypeAlias = deque[tuple[int, int]]

# Names of a module that are read.
MAX_NAMES = 100_000
# Characters of an error message that are shown.
MAX_RECEIVED_CHARS = 100_000
# Perturbed forward passes of one request; the first requests are smaller, so that an interruption ends soon.
MAX_PASSES = 256
# Largest array of a call whose answer is remembered, see ``repeats_its_answers``.
MAX_REMEMBERED_BYTES = 2**18


class RemoteTarget(Target):
    """A file or module in a child process.

    Parameters
    ----------
    child : ChildProcess
        The process, which is loading the target.
    """

    def __init__(self, child: ChildProcess) -> None:
        super().__init__()
        self.child, self._ids = child, itertools.count(1)
        self._answers: dict[str, tuple[PairCall, PairReturn]] = {}  # by function: a call, and what it returned
        self.names, self.only, self._is_open = (), "", False
        self._is_exchanging = False  # between a request and its last answer

    def open(self) -> None:
        """Wait until the target is loaded.

        Raises
        ------
        TargetError
            The target does not load.
        TargetEnded
            The process has ended.
        """
        if not self._is_open:
            content, _ = self._receive(0)
            self.names = self._parse(lambda: tuple(map(require_text, content["names"][:MAX_NAMES])))
            # The user selects a function, and not the code: a file could replace itself with its only correct function.
            is_function = self._parse(lambda: require_text(content["only"])) != ""
            self.only = split(self.child.target)[1] if is_function else ""
            self.child.limit_memory()
            self._is_open = True

    def repeats_its_answers(self, limits: Limits) -> bool:
        """Return whether the functions return what they returned before for the same arrays, bit by bit.

        Calls with large arrays are not repeated; without a smaller one, the return value is False.
        """
        if not self._answers:
            return False
        self.child.begin(limits)
        try:
            with np.errstate(all="ignore"):  # these calls are not part of a check
                return all(_are_equal(self._call_pair(call), answer) for call, answer in self._answers.values())
        except TargetError:
            return False
        finally:
            self.modifications.clear()

    def functions(self, names: Iterable[str]) -> dict[str, Function]:
        """Describe the names that are functions."""
        wanted = list(names)
        content, _ = self._request("functions", names=wanted)
        return self._parse(
            lambda: {require_text(name): _parse_function(value) for name, value in content["functions"].items()}
        )

    def run_pair(self, call: PairCall) -> PairReturn:
        """Call a forward function and its backward function."""
        returned, name = self._call_pair(call), call.forward.function
        size = max(array.nbytes for array in call.forward.arguments if isinstance(array, np.ndarray))
        if name not in self._answers and size <= MAX_REMEMBERED_BYTES and call.usage is Usage.FIRST:
            self._answers[name] = call, returned
        return returned

    def _call_pair(self, call: PairCall) -> PairReturn:
        arrays: list[AnyArray] = []
        forward, dout = _call_to_json(call.forward, arrays), to_json(call.dout, arrays)
        other = call.other and _call_to_json(call.other, arrays)
        max_bytes = max(array.nbytes for array in arrays)  # a larger array has a wrong shape
        content, returned = self._request(
            "run_pair", arrays, max_reply_bytes=MAX_RETURNED * max_bytes, forward=forward, other=other,
            backward=call.backward, dout=dout["array"], usage=call.usage.name, may_store_state=call.may_store_state,
            max_bytes=max_bytes,
        )  # fmt: skip
        return self._parse(lambda: _parse_pair_return(content, returned))

    def run_forward(
        self, call: Call, shape: tuple[int, ...], position: int, indices: IndexArray, values: FloatArray
    ) -> Iterator[FloatArray]:
        """Yield the outputs of perturbed forward calls; the child computes the next ones meanwhile."""
        self._begin_exchange()
        arrays: list[AnyArray] = []
        self._send("set_forward", arrays, forward=_call_to_json(call, arrays))
        pending: Requests = deque()
        started, size = 0, 1
        try:
            while started < len(indices) or pending:
                # One request is computed while the outputs of the other are used.
                while started < len(indices) and len(pending) < 2:
                    part = slice(started, started + size)
                    request = self._send(
                        "run_forward", [indices[part].astype(np.int64), values[part]], shape=shape, position=position
                    )
                    pending.append((request, len(indices[part])))
                    started, size = started + size, min(2 * size, MAX_PASSES)
                outputs = self._receive_outputs(pending, shape)
                self._is_exchanging = started < len(indices) or bool(pending)
                yield from outputs
        except TargetError:
            self._discard_outputs(pending, shape)
            self._is_exchanging = False
            raise

    def _receive_outputs(self, pending: Requests, shape: tuple[int, ...]) -> FloatArray:
        """Return the next outputs, shape (outputs, *shape)."""
        request, missing = pending[0]
        max_bytes = 8 * missing * max(int(np.prod(shape)), 1)
        try:
            content, arrays = self._receive(request, max_bytes)
        except TargetError:
            pending.popleft()
            raise
        count = self._parse(lambda: require_count(content["outputs"]))
        if len(arrays) != 1:
            raise self._violation()
        (outputs,) = arrays
        if not 0 < count <= missing or outputs.shape != (count, *shape) or outputs.dtype != np.float64:
            raise self._violation()
        if missing > count:
            pending[0] = (request, missing - count)
        else:
            pending.popleft()
        return outputs

    def _discard_outputs(self, pending: Requests, shape: tuple[int, ...]) -> None:
        """Receive the outputs of requests that are not needed any more, because of an error."""
        while pending and not self.child.failure:
            try:
                self._receive_outputs(pending, shape)
            except TargetEnded:
                return
            except TargetError:  # the next request fails in the same way
                continue

    def _request(
        self, request: str, arrays: Sequence[AnyArray] = (), *, max_reply_bytes: int = 0, **content: Any
    ) -> tuple[Header, list[AnyArray]]:
        """Send a request and return its answer."""
        self._begin_exchange()
        try:
            answer = self._receive(self._send(request, arrays, **content), max_reply_bytes)
        except TargetError:
            self._is_exchanging = False
            raise
        self._is_exchanging = False
        return answer

    def _begin_exchange(self) -> None:
        """Replace the child if an exchange with it was interrupted: a part of an answer may be lost."""
        if self._is_exchanging and not self.child.failure:
            self.child = self.child.replace()
            self._is_open = False
            self.open()
        self._is_exchanging = True

    def _send(self, request: str, arrays: Sequence[AnyArray] = (), **content: Any) -> int:
        """Send a request and return its id."""
        number = next(self._ids)
        header = {"request": request, "id": number, "errstate": np.geterr(), **content}
        messages.send(self.child.write, header, arrays)
        return number

    def _receive(self, request: int, max_bytes: int = 0) -> tuple[Header, list[AnyArray]]:
        """Return the answer to a request.

        Raises
        ------
        NotImplementedYet, TargetError
            The child answered with an error.
        TargetEnded
            It has ended, or the bytes are not an answer to this request.
        """
        try:
            content, arrays = messages.receive(self.child.read_into, max_bytes)
        except MessageError:
            raise self._violation() from None
        if content.get("id") != request:
            raise self._violation()
        self.modifications += self._parse(lambda: [_parse_modification(*m) for m in content["modifications"]])
        if "error" in content:
            text = self._parse(lambda: require_text(content["text"])[:MAX_RECEIVED_CHARS])
            raise NotImplementedYet(text) if content["error"] == "not implemented" else TargetError(text)
        return content, arrays

    def _parse(self, parse: Callable[[], T]) -> T:
        """Return a part of an answer; an answer with another structure ends the child."""
        try:
            return parse()
        except (MessageError, KeyError, IndexError, TypeError, ValueError, AttributeError):
            raise self._violation() from None

    def _violation(self) -> TargetEnded:
        text = "wrote to a file descriptor that it did not open and that bncheck uses for its results"
        return self.child.end(f"{self.child.target} {text}")


# Arrays in the answer of a pair.
MAX_RETURNED = 20


def _are_equal(one: PairReturn, other: PairReturn) -> bool:
    """Return whether two answers are equal, bit by bit."""
    return bool(_as_bytes(one) == _as_bytes(other))


def _as_bytes(returned: Any) -> Any:
    """Return a record with bytes instead of arrays."""
    if isinstance(returned, np.ndarray):
        content = returned.item() if returned.dtype == object else returned.tobytes()
        return returned.dtype, returned.shape, content
    return tuple(map(_as_bytes, returned)) if isinstance(returned, tuple) else returned


def _call_to_json(call: Call, arrays: list[AnyArray]) -> Header:
    arguments = [to_json(argument, arrays) for argument in call.arguments]
    named = {name: to_json(argument, arrays) for name, argument in call.named.items()}
    return {"function": call.function, "arguments": arguments, "named": named}


def _parse_function(content: Header) -> Function:
    parameters = None
    if content["has_parameters"]:
        parameters = tuple(
            Parameter(require_text(name), ParameterKind(kind), has_default is True)
            for name, kind, has_default in content["parameters"]
        )
    source = content["source"]
    if source is not None:
        file, line = source
        source = Source(require_text(file), require_count(line))
    words = frozenset(map(require_text, content["words"]))
    return Function(parameters, content["is_routine"] is True, source, words)


def _parse_modification(function: str, owner: str, position: int, was_earlier: bool) -> Modification:
    return Modification(require_text(function), require_text(owner), require_count(position), was_earlier is True)


def _parse_pair_return(content: Header, arrays: Sequence[AnyArray]) -> PairReturn:
    backward = content["backward"]
    if backward is not None:
        keys = None if backward["keys"] is None else tuple(map(require_text, backward["keys"]))
        values = tuple(None if value is None else _parse_value(value, arrays) for value in backward["values"])
        if keys is not None and len(keys) != len(values):
            raise MessageError
        backward = Returned(require_text(backward["description"]), backward["is_sequence"] is True, keys, values)
    return PairReturn(_parse_value(content["output"], arrays), backward, require_text(content["not_implemented"]))


def _parse_value(content: Header, arrays: Sequence[AnyArray]) -> Value:
    dtype, error = require_text(content["dtype"]), require_text(content["error"])
    if "unreadable" in content:
        array_dtype, shape, is_too_large = content["unreadable"]
        sizes = tuple(map(require_count, shape))
        return Value(unreadable(require_text(array_dtype), sizes, is_too_large=is_too_large is True), dtype, error)
    return Value(arrays[require_count(content["array"])], dtype, error)
