"""A Dask cluster as workers: checks run on other machines, which have bncheck but not the files of a target."""

import asyncio
import atexit
import ctypes
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Protocol, TypeVar

import bncheck
from bncheck.errors import InvalidInput
from bncheck.execution.pool import Batch, Done, run_batch
from bncheck.targets.bundle import SourceBundle, UnpackedBundle

T = TypeVar("T")

# Seconds in which a scheduler must answer.
SCHEDULER_TIMEOUT_SECONDS = 10.0
# Seconds for which the number of workers is believed.
WORKER_COUNT_CACHE_SECONDS = 1.0
# The loggers of Dask and of what it stands on.
NOISY_LOGGERS = ("distributed", "tornado", "asyncio")
# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
INSTALL = "--dask needs dask: pip install 'bncheck[dask]'"


class Check(Hashable, Protocol):
    """What is handed out."""

    @property
    def target(self) -> str:
        """What it is a check of."""


class DaskPool:
    """The workers of a Dask scheduler, those that join later too.

    ``warn`` is told what is worth knowing while it is waited for.

    Raises
    ------
    InvalidInput
        Dask is not installed here, nobody answers, or a worker has no bncheck, or another version.
    """

    def __init__(self, address: str, targets: Iterable[str], warn: Callable[[str], None]) -> None:
        try:
            import distributed  # noqa: PLC0415 - optional
            from distributed.comm import get_address_host_port  # noqa: PLC0415 - likewise
        except ImportError:
            raise InvalidInput(INSTALL) from None
        try:
            get_address_host_port(address)
        except ValueError as error:
            raise InvalidInput(
                f"{address!r} is no address of a Dask scheduler ({error}); one is tcp://10.0.0.1:8786"
            ) from None
        self._address, self._warn, self._last_warning = address, warn, ""
        self._killed = distributed.KilledWorker
        self._sources = {target: SourceBundle.of(target) for target in targets}
        names = [name for name in logging.root.manager.loggerDict if name.startswith(NOISY_LOGGERS)]
        self._levels = {name: logging.getLogger(name).level for name in names}
        for name in names:  # what they say is said here, in a sentence
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        try:
            _call_with_timeout(SCHEDULER_TIMEOUT_SECONDS, partial(asyncio.run, _identity(address)))
            self._client = distributed.Client(address, timeout=SCHEDULER_TIMEOUT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:  # a time-out is an OSError
            self._restore_loggers()
            raise InvalidInput(
                f"no Dask scheduler answers at {address} within {SCHEDULER_TIMEOUT_SECONDS:g} s; start one with: dask scheduler"
            ) from error
        # pure: two calls that are alike are one to Dask, and a second try of what failed would fail unseen.
        self._executor = self._client.get_executor(pure=False)
        self._counted, self._count, self._closed = -WORKER_COUNT_CACHE_SECONDS, 1, False
        atexit.register(self.close)  # Dask's own thread is gone when the interpreter lets go of this
        try:
            self._require_same_version()
        except BaseException:
            self.close()
            raise

    @property
    def count(self) -> int:
        """How many threads the workers have together, at present; 1 while there are none."""
        if time.monotonic() - self._counted > WORKER_COUNT_CACHE_SECONDS:
            self._count = max(1, sum(self._threads().values()))
            self._counted = time.monotonic()
        return self._count

    def submit(self, work: Callable[..., Done], batch: Sequence[Check]) -> "Future[Batch[Done]]":
        """Hand out checks, with the texts of their targets."""
        sources = {target: self._sources[target] for target in dict.fromkeys(check.target for check in batch)}
        call = _PicklableCall(work, batch, sources, bncheck.__version__)
        future: Future[Batch[Done]] = self._executor.submit(pickle.loads, pickle.dumps(call))
        return future

    def is_worker_death(self, error: BaseException) -> bool:
        """Tell whether Dask gave a check up because its workers died.

        Raises
        ------
        InvalidInput
            The scheduler is gone, or a worker that joined has no bncheck.
        """
        if isinstance(error, CancelledError):
            raise InvalidInput(f"the Dask scheduler at {self._address} is gone") from error
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "bncheck":
            raise InvalidInput(f"a worker of {self._address} has no bncheck; {_install()}") from error
        return isinstance(error, self._killed)

    def restart(self) -> bool:
        """Go on: what other workers have in flight is not lost."""
        return False

    def on_idle(self) -> None:
        """Say once that no worker is there, while it is so."""
        if self._threads():
            self._last_warning = ""
        elif not self._last_warning:
            self._warn_once(
                f"no worker at {self._address}: waiting for one (start one with: dask worker {self._address})"
            )

    def close(self) -> None:
        """Give back what is not done, and leave."""
        if self._closed:  # at the interpreter's end no thread can be started any more
            return
        self._closed = True
        atexit.unregister(self.close)
        with suppress(OSError):  # a scheduler that does not answer any more
            _call_with_timeout(SCHEDULER_TIMEOUT_SECONDS, partial(self._executor.shutdown, wait=False))
        self._client.close(timeout=SCHEDULER_TIMEOUT_SECONDS)
        self._restore_loggers()

    def _restore_loggers(self) -> None:
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)

    def _warn_once(self, sentence: str) -> None:
        if sentence != self._last_warning:
            self._warn(sentence)
        self._last_warning = sentence

    def _threads(self) -> Mapping[str, int]:
        """Return how many threads each worker has; as far as is known, where the scheduler does not answer."""
        try:
            threads: Mapping[str, int] = _call_with_timeout(SCHEDULER_TIMEOUT_SECONDS, self._client.nthreads)
        except TimeoutError:
            self._warn_once(f"the Dask scheduler at {self._address} does not answer: waiting for it")
            return {"": self._count}
        except OSError as error:
            raise InvalidInput(f"the Dask scheduler at {self._address} is gone") from error
        return threads

    def _require_same_version(self) -> None:
        # A built-in function reaches a worker of any Python, without bncheck.
        asked = partial(self._client.run, eval, "__import__('bncheck').__version__", on_error="return")
        try:
            told = _call_with_timeout(SCHEDULER_TIMEOUT_SECONDS, asked)
        except TimeoutError:
            self._warn_once(f"some worker at {self._address} does not answer: going on without knowing its version")
            return
        for worker, version in told.items():
            if isinstance(version, ModuleNotFoundError):
                raise InvalidInput(f"the worker at {worker} has no bncheck; {_install()}")
            if isinstance(version, str) and version != bncheck.__version__:  # else it is just leaving
                raise InvalidInput(_other_version(worker, version))


class _PicklableCall:
    """A call that unpickling makes: a worker without bncheck can take it, and say that it has none.

    It would lose its connection over a function that it cannot import.
    """

    def __init__(self, *arguments: object) -> None:
        self._arguments = arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return run_on_worker, self._arguments


def run_on_worker(
    work: Callable[..., Done], batch: Sequence[Check], sources: Mapping[str, SourceBundle | None], version: str
) -> Batch[Done]:
    """Do checks on a worker, where their targets are written first.

    Raises
    ------
    InvalidInput
        The worker has another version of bncheck than the sender's.
    """
    if version != bncheck.__version__:
        from distributed import get_worker  # noqa: PLC0415 - optional

        raise InvalidInput(_other_version(get_worker().address, bncheck.__version__, version))
    _raise_malloc_thresholds()
    there = {target: _unpacked(files) for target, files in sources.items() if files is not None}
    return run_batch(lambda check: work(check, there[check.target]) if check.target in there else work(check), batch)


@cache
def _raise_malloc_thresholds() -> None:
    """Let glibc keep memory that is free, up to 64 MB.

    Dask has its workers give it back at once; to get it again is two thirds of the time of a large check.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, 2**26)
        mallopt(M_MMAP_THRESHOLD, 2**25)


_UNPACKED: dict[SourceBundle, UnpackedBundle] = {}
_LOCK = threading.Lock()


def _unpacked(sources: SourceBundle) -> UnpackedBundle:
    """Write a target's files into this worker's own folder, unless they are there."""
    from distributed import get_worker  # noqa: PLC0415 - optional

    with _LOCK:
        found = _UNPACKED.get(sources)
        if found is None or not os.path.isfile(os.path.join(found.remote_dir, sources.main)):
            worker = get_worker()
            try:
                folder = mkdtemp(prefix="bncheck-", dir=worker.local_directory)
                found = _UNPACKED[sources] = sources.unpack(Path(folder).resolve())
            except OSError as error:
                raise InvalidInput(
                    f"the worker at {worker.address} cannot write to {worker.local_directory}: {error.strerror}"
                ) from error
        return found


async def _identity(address: str) -> None:
    """Ask a scheduler who it is: a port that takes a connection may never answer."""
    from distributed.core import rpc  # noqa: PLC0415 - optional

    async with rpc(address, timeout=SCHEDULER_TIMEOUT_SECONDS) as scheduler:
        await asyncio.wait_for(scheduler.identity(), SCHEDULER_TIMEOUT_SECONDS)


def _call_with_timeout(seconds: float, question: Callable[[], T]) -> T:
    """Return the answer, or raise TimeoutError where it does not come in time."""
    answers: Future[T] = Future()

    def ask() -> None:
        try:
            answers.set_result(question())
        except BaseException as error:  # noqa: BLE001 - raised where it is asked for
            answers.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return answers.result(seconds)


def _other_version(worker: str, theirs: object, ours: str = bncheck.__version__) -> str:
    return f"the worker at {worker} has bncheck {theirs}, and this is {ours}; {_install(ours)}"


def _install(version: str = bncheck.__version__) -> str:
    return f"install it there with: pip install bncheck=={version}"
