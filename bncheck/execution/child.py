"""The child process: it loads the code under test, and makes the calls that bncheck asks for.

It decides nothing: what the functions are taken for, and whether they are correct, is decided by its parent.
"""

import io
import mmap
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from bncheck.errors import NotImplementedYet, TargetError
from bncheck.execution import messages
from bncheck.execution.messages import AnyArray, Header
from bncheck.execution.status import PIPE_CLOSED, STATUS_BYTES, write_status
from bncheck.targets.arrays import Unreadable
from bncheck.targets.loading import load
from bncheck.targets.local import LocalTarget
from bncheck.targets.target import Call, PairCall, Value
from bncheck.targets.usage import Usage

# Outputs of perturbed forward passes are sent when they have this number of bytes, or after this time.
OUTPUT_BYTES, OUTPUT_SECONDS = 2**20, 0.02
# Characters of an error message.
MAX_TEXT_CHARS = 20_000
# How often a child on another system than Linux checks that its parent still exists.
PARENT_POLL_SECONDS = 0.5
# The signal that Linux sends to a process when its parent ends: an option of prctl.
PR_SET_PDEATHSIG = 1


def main(requests: int, answers: int, status: int, parent: int, target: str) -> None:
    """Load a target and answer requests until the parent closes the pipe.

    Parameters
    ----------
    requests, answers : int
        File descriptors of the pipes from and to the parent.
    status : int
        File descriptor of the memory in which the child writes what it runs.
    parent : int
        Process ID of the parent.
    target : str
        The file or module, with an optional name: "layers.py:solution_b".
    """
    _end_with_parent(parent)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        _Evaluator(_Pipe(requests, answers), mmap.mmap(status, STATUS_BYTES)).run(target)
    except OSError:
        os._exit(PIPE_CLOSED)
    os._exit(0)  # without waiting for threads that the code under test started


def _end_with_parent(parent: int) -> None:
    """End this process when its parent ends, even in the middle of a call."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - numpy has imported it

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 9)
        if os.getppid() != parent:  # it ended before the call
            os._exit(0)
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_SECONDS)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


class _Pipe:
    """The pipes from and to the parent."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = io.BufferedReader(io.FileIO(requests), 2**16), answers
        self._pid = os.getpid()

    def receive(self) -> tuple[Header, list[AnyArray]]:
        """Wait for a request."""
        self._end_copy()
        return messages.receive(self._read_into, sys.maxsize)

    def send(self, header: Header, arrays: Sequence[AnyArray] = ()) -> None:
        """Send an answer."""
        self._end_copy()
        messages.send(self._write, header, arrays)

    def _end_copy(self) -> None:
        """End this process if the code under test has forked it: only the original answers."""
        if os.getpid() != self._pid:
            os._exit(0)

    def _read_into(self, buffer: memoryview) -> None:
        if self._requests.readinto(buffer) != len(buffer):  # the parent has closed the pipe
            os._exit(0)

    def _write(self, buffer: memoryview) -> None:
        while buffer:
            buffer = buffer[os.write(self._answers, buffer) :]


class _Evaluator:
    """Answers the requests of the parent."""

    def __init__(self, pipe: _Pipe, status: mmap.mmap) -> None:
        self._pipe, self._status, self._calls = pipe, status, 0
        self._id = 0  # of the current request, repeated in every answer to it
        self._target = LocalTarget(object(), "")
        self._call = Call("", (), {})
        self._requests = {
            "functions": self._functions,
            "run_pair": self._run_pair,
            "set_forward": self._set_forward,
            "run_forward": self._run_forward,
        }

    def run(self, target: str) -> None:
        """Load the target and answer requests."""
        try:
            self._start_call("the import")
            namespace = load(target)
            self._start_call("reading its attributes")
            self._target = LocalTarget(namespace, target, on_call=self._start_call, is_interruptible=False)
            self._answer({"names": list(self._target.names), "only": self._target.only})
        except TargetError as error:
            self._answer_error(error)
        while True:
            header, arrays = self._pipe.receive()
            self._id = header["id"]
            try:
                # The code under test may have changed how NumPy reports floating-point errors.
                with np.errstate(**header["errstate"]):
                    self._requests[header["request"]](header, arrays)
            except TargetError as error:
                self._answer_error(error)

    def _start_call(self, name: str) -> None:
        """Write what runs now into the memory that the parent reads."""
        self._calls += 1
        write_status(self._status, self._calls, name)

    def _answer(self, header: Header, arrays: Sequence[AnyArray] = ()) -> None:
        try:
            self._pipe.send({**header, "id": self._id, **self._side_effects()}, arrays)
        except messages.MessageError:
            size = f"more than {messages.MAX_HEADER_BYTES / 1e6:.0f} MB"
            self._answer_error(TargetError(f"the names and keys of the code have {size}; shorten them"))

    def _answer_error(self, error: TargetError) -> None:
        kind = "not implemented" if isinstance(error, NotImplementedYet) else "error"
        self._pipe.send({"error": kind, "text": str(error)[:MAX_TEXT_CHARS], "id": self._id, **self._side_effects()})

    def _side_effects(self) -> Header:
        """Return the modifications since the last answer."""
        modifications, self._target.modifications = self._target.modifications, []
        return {"modifications": modifications}

    def _functions(self, header: Header, _: Sequence[AnyArray]) -> None:
        """Describe functions by name."""
        self._start_call("reading its attributes")
        functions = self._target.functions(header["names"])
        self._answer({
            "functions": {
                name: {
                    "parameters": f.parameters and [[p.name, p.kind.value, p.has_default] for p in f.parameters],
                    "has_parameters": f.parameters is not None,
                    "is_routine": f.is_routine, "source": f.source, "words": sorted(f.words),
                }
                for name, f in functions.items()
            }
        })  # fmt: skip

    def _run_pair(self, header: Header, arrays: Sequence[AnyArray]) -> None:
        """Run a pair and send the values that it returned."""
        self._target.max_bytes = header["max_bytes"]
        forward, other = _parse_call(header["forward"], arrays), header["other"]
        other = other and _parse_call(other, arrays)
        dout, usage = arrays[header["dout"]], Usage[header["usage"]]
        call = PairCall(forward, header["backward"], dout, usage, other, header["may_store_state"])
        returned = self._target.run_pair(call)
        sent: list[AnyArray] = []
        backward = returned.backward and {
            "description": returned.backward.description,
            "is_sequence": returned.backward.is_sequence,
            "keys": returned.backward.keys,
            "values": [value and _value_to_json(value, sent) for value in returned.backward.values],
        }
        output = _value_to_json(returned.output, sent)
        self._answer({"output": output, "backward": backward, "not_implemented": returned.not_implemented}, sent)

    def _set_forward(self, header: Header, arrays: Sequence[AnyArray]) -> None:
        """Store the call that the next requests perturb, without an answer."""
        self._call = _parse_call(header["forward"], arrays)

    def _run_forward(self, header: Header, arrays: Sequence[AnyArray]) -> None:
        """Send the outputs of perturbed forward passes, several in a message."""
        indices, values = arrays
        shape = tuple(header["shape"])
        self._target.max_bytes = 8 * max(int(np.prod(shape)), 1)
        outputs = self._target.run_forward(self._call, shape, header["position"], indices, values)
        for batch in _batches(outputs):
            self._answer({"outputs": len(batch)}, [np.stack(batch)])

    def _flush_output(self) -> None:
        """Write what the code under test printed, so that its order is kept."""
        with suppress(Exception):  # it may have replaced the streams
            sys.stdout.flush()
            sys.stderr.flush()


def _batches(outputs: Iterator[AnyArray]) -> Iterator[list[AnyArray]]:
    """Collect outputs until they are worth a message."""
    batch: list[AnyArray] = []
    started = time.monotonic()
    try:
        for output in outputs:
            batch.append(output)
            if len(batch) * output.nbytes >= OUTPUT_BYTES or time.monotonic() - started > OUTPUT_SECONDS:
                yield batch
                batch, started = [], time.monotonic()
    except TargetError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _parse_call(content: Any, arrays: Sequence[AnyArray]) -> Call:
    arguments = tuple(messages.from_json(argument, arrays) for argument in content["arguments"])
    named = {name: messages.from_json(argument, arrays) for name, argument in content["named"].items()}
    return Call(content["function"], arguments, named)


def _value_to_json(value: Value, arrays: list[AnyArray]) -> Header:
    """Return the JSON of a value; its array is appended to ``arrays``, unless it is described only."""
    content: Header = {"dtype": value.dtype, "error": value.error}
    if value.array.dtype == object:
        description = value.array.item()
        assert isinstance(description, Unreadable)
        return {**content, "unreadable": description}
    arrays.append(value.array.astype(value.array.dtype.newbyteorder("<"), copy=False))
    return {**content, "array": len(arrays) - 1}
