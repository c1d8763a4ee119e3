"""The parent's side of a child process: it starts the process, exchanges bytes with it, and ends it at a limit."""

import fcntl
import mmap
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

from bncheck.errors import LimitExceeded, TargetEnded, explain_os_error
from bncheck.execution import processes
from bncheck.execution.limits import Limits
from bncheck.execution.memory import limit_data, used_memory, uses_cuda
from bncheck.execution.output import Output
from bncheck.execution.status import PIPE_CLOSED, STATUS_BYTES, create_status_file, read_call_count, read_call_name
from bncheck.model.version import PACKAGE_DIR

# How often the limits are checked while the parent waits.
POLL_SECONDS = 0.05
# How often the limits are checked while the child answers sooner than that.
LIMIT_CHECK_SECONDS = 0.25
# A poll that takes longer than POLL_SECONDS by this time was stopped; on a busy machine it may take a little longer.
MIN_PAUSE_SECONDS = 1.0
# How long an exit may take after the pipe is closed.
EXIT_SECONDS = 2.0
# Size of the pipes: with the default of 64 kB, an array of 1 MB needs 16 changes between the processes.
PIPE_BYTES, READ_BYTES = 2**20, 2**16

SIGNAL_MEANINGS = {"SIGSEGV": " (segmentation fault)", "SIGABRT": " (abort)"}


class ChildProcess:
    """A process that runs the code under test.

    Parameters
    ----------
    target : str
        A file or module, with an optional name: "layers.py:solution_b".
    """

    def __init__(self, target: str) -> None:
        self.target, self.output = target, Output()
        self.failure: TargetEnded | None = None  # why the process ended; None while it runs
        with explain_os_error(f"start a process for {target}"):
            self._start(target)
        self._poll = select.poll()
        for descriptor in (self._requests, self._answers, self._printed):
            os.set_blocking(descriptor, False)
            with suppress(OSError, AttributeError):  # not Linux, or the user's limit on pipes is reached
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._poll.register(self._printed, select.POLLIN)
        self._calls, self._call_started, self._is_terminated = -1, time.monotonic(), False
        self._read_buffer, self._received = bytearray(PIPE_BYTES), memoryview(b"")

    def _start(self, target: str) -> None:
        """Create the pipes and start the process."""
        status = create_status_file()
        self._status = mmap.mmap(status, STATUS_BYTES)
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        self._printed, printed = os.pipe()
        # The folder of bncheck is last on the import path: no file next to bncheck may shadow a module of the user.
        script = f"import sys; sys.path.append({os.path.dirname(PACKAGE_DIR)!r}); "
        script += "from bncheck.execution.child import main; "
        script += f"main({requests}, {answers}, {status}, {os.getpid()}, sys.argv[1])"
        command = [sys.executable, "-P", "-c", script, target]
        try:
            with processes.start_lock:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=printed,
                    pass_fds=(requests, answers, status),
                    start_new_session=True,  # the terminal does not send Ctrl-C to the child, only to this process
                )
                processes.register(self._process.pid)
        finally:
            for descriptor in (requests, answers, printed, status):
                os.close(descriptor)

    def begin(self, limits: Limits) -> None:
        """Start the time limits of a check."""
        self._limits, self._deadline, self.output = limits, time.monotonic() + limits.timeout, Output()
        self._call_started = self._next_check = time.monotonic()

    def replace(self) -> "ChildProcess":
        """Terminate the process, and start another one for the same check."""
        self.terminate()
        other = ChildProcess(self.target)
        other.begin(self._limits)
        other.output = self.output
        return other

    def limit_memory(self) -> None:
        """Limit the memory of the process, after the code under test is loaded."""
        limit_data(self._process.pid, self._limits.memory)

    def read_into(self, buffer: memoryview) -> None:
        """Fill a buffer with bytes from the child.

        Raises
        ------
        TargetEnded
            The child has ended, or a limit is exceeded and it was terminated.
        """
        while buffer:
            if not self._received:
                self._wait(self._answers, select.POLLIN)
                self._received = self._read()
            count = min(len(buffer), len(self._received))
            buffer[:count] = self._received[:count]
            buffer, self._received = buffer[count:], self._received[count:]

    def _read(self) -> memoryview:
        """Read what the pipe contains; a short message is read in one piece."""
        try:
            count = os.readv(self._answers, [self._read_buffer])
        except BlockingIOError:
            return memoryview(b"")
        if count == 0:
            raise self.end(self._describe_exit())
        return memoryview(self._read_buffer)[:count]

    def write(self, buffer: memoryview) -> None:
        """Write bytes to the child.

        Raises
        ------
        TargetEnded
            As for ``read_into``.
        """
        if self.failure:
            raise self.failure
        while buffer:
            try:
                buffer = buffer[os.write(self._requests, buffer) :]
            except BlockingIOError:
                self._wait(self._requests, select.POLLOUT)
            except BrokenPipeError:
                raise self.end(self._describe_exit()) from None

    def _wait(self, descriptor: int, event: int) -> None:
        """Wait until a pipe is ready, and collect output meanwhile."""
        if self.failure:
            raise self.failure
        self._poll.register(descriptor, event)
        try:
            while True:
                started = time.monotonic()
                ready = dict(self._poll.poll(1000 * POLL_SECONDS))
                self._exclude_pause(time.monotonic() - started - POLL_SECONDS)
                if self._printed in ready:
                    self._collect_output()
                is_ready = descriptor in ready
                if is_ready and started < self._next_check:
                    return
                if not ready and self._process.poll() is not None:  # another process keeps the pipe open
                    raise self.end(self._describe_exit())
                if limit := self._exceeded_limit():
                    raise self.end(limit, LimitExceeded)
                self._next_check = started + LIMIT_CHECK_SECONDS
                if is_ready:
                    return
        finally:
            self._poll.unregister(descriptor)

    def _exclude_pause(self, seconds: float) -> None:
        """Exclude a time in which this process was stopped, for example by Ctrl-Z, from the limits."""
        if seconds > MIN_PAUSE_SECONDS:
            self._deadline += seconds
            self._call_started += seconds

    def _exceeded_limit(self) -> str:
        """Return which limit is exceeded; empty if none is."""
        now, calls = time.monotonic(), read_call_count(self._status)
        if calls != self._calls:
            self._calls, self._call_started = calls, now
        call_timeout, timeout, memory = self._limits
        if now - self._call_started > call_timeout:
            return f"{self.call} did not return within {call_timeout:g} s; allow more with `call_timeout`"
        if now > self._deadline:
            return f"{self.target} was not checked within {timeout:g} s; allow more with `timeout`"
        if used_memory(self._process.pid) > memory and not uses_cuda(self._process.pid):
            used = f"{self.call} used more than {memory / 1e9:.1f} GB of memory"
            return f"{used}, the limit; allow more with `memory`"
        return ""

    @property
    def call(self) -> str:
        """What the child runs, or ran last: the name of a function."""
        return read_call_name(self._status) or f"starting Python for {self.target}"

    def _collect_output(self) -> None:
        """Read what the code under test printed."""
        with suppress(BlockingIOError, OSError):
            while data := os.read(self._printed, READ_BYTES):
                self.output.add(data)
                if len(data) < READ_BYTES:
                    return
            with suppress(KeyError):
                self._poll.unregister(self._printed)  # closed

    def _describe_exit(self) -> str:
        """Return how the process ended, after its pipe was closed."""
        try:
            code = self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return f"{self.target} closed a file descriptor that it did not open, and did not exit"
        if code == PIPE_CLOSED:
            return f"{self.target} closed a file descriptor that it did not open, or exited with code {code}"
        if code >= 0:
            self._collect_output()
            hint = "; see what it printed with `show_output`" if self.output.bytes else ""
            return f"{self.target} exited with code {code}{hint}"
        try:
            name = signal.Signals(-code).name
        except ValueError:  # a real-time signal
            name = f"signal {-code}"
        return f"{self.target} was terminated by {name}{SIGNAL_MEANINGS.get(name, '')}"

    def end(self, failure: str, kind: type[TargetEnded] = TargetEnded) -> TargetEnded:
        """Terminate the process, and return the error of every later use."""
        self.terminate()
        self.failure = kind(failure)
        return self.failure

    def terminate(self) -> None:
        """Terminate the process and the processes that it started; it is the leader of their session."""
        if self._is_terminated:
            return
        self._is_terminated = True
        self.failure = self.failure or TargetEnded(f"{self.target} was terminated")
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        processes.unregister(self._process.pid)
        self._process.wait()
        processes.terminate_strays()
        self._collect_output()
        for descriptor in (self._requests, self._answers, self._printed):
            os.close(descriptor)
        self._status.close()
