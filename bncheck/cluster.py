"""A Dask cluster as workers: checks run on other machines, which have bncheck but not the files of a target."""

import ctypes
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Protocol

import bncheck
from bncheck.errors import InvalidInput
from bncheck.targets.sources import Sources
from bncheck.workers import Batch, Done, done

# Seconds in which a scheduler must answer.
ANSWER = 10.0
# Seconds for which the number of workers is believed.
BELIEVED = 1.0
# The loggers of Dask and of what it stands on.
TALKATIVE = ("distributed", "tornado", "asyncio")
# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
INSTALL = "--dask needs dask: pip install 'bncheck[dask]'"


class Check(Hashable, Protocol):
    """What is handed out."""

    @property
    def target(self) -> str:
        """What it is a check of."""


class Cluster:
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
        for name in [name for name in logging.root.manager.loggerDict if name.startswith(TALKATIVE)]:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what they say is said here, in a sentence
        self._address, self._warn, self._warned = address, warn, False
        self._killed = distributed.KilledWorker
        self._sources = {target: Sources.of(target) for target in targets}
        try:
            get_address_host_port(address)
        except ValueError as error:
            raise InvalidInput(
                f"{address!r} is no address of a Dask scheduler ({error}); one is tcp://10.0.0.1:8786"
            ) from None
        try:
            self._client = distributed.Client(address, timeout=ANSWER, set_as_default=False)
        except OSError as error:  # a time-out is one
            raise InvalidInput(
                f"no Dask scheduler answers at {address} within {ANSWER:g} s; start one with: dask scheduler"
            ) from error
        try:
            self._require_same_version()
        except BaseException:
            self._client.close()
            raise
        # pure: two calls that are alike are one to Dask, and a second try of what failed would fail unseen.
        self._executor = self._client.get_executor(pure=False)
        self._counted, self._count = -BELIEVED, 1

    @property
    def count(self) -> int:
        """How many threads the workers have together, at present; 1 while there are none."""
        if time.monotonic() - self._counted > BELIEVED:
            self._count = max(1, sum(self._asked(self._client.nthreads).values()))
            self._counted = time.monotonic()
        return self._count

    def submit(self, work: Callable[..., Done], batch: Sequence[Check]) -> "Future[Batch[Done]]":
        """Hand out checks, with the texts of their targets."""
        sources = {target: self._sources[target] for target in dict.fromkeys(check.target for check in batch)}
        call = _Call(work, batch, sources, bncheck.__version__)
        future: Future[Batch[Done]] = self._executor.submit(pickle.loads, pickle.dumps(call))
        return future

    def died(self, error: BaseException) -> bool:
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

    def renew(self) -> bool:
        """Go on: what other workers have in flight is not lost."""
        return False

    def idle(self) -> None:
        """Say once that no worker is there, while it is so."""
        absent = not self._asked(self._client.nthreads)
        if absent and not self._warned:
            self._warn(f"no worker at {self._address}: waiting for one (start one with: dask worker {self._address})")
        self._warned = absent

    def close(self) -> None:
        """Give back what is not done, and leave."""
        self._executor.shutdown(wait=False)
        self._client.close(timeout=ANSWER)

    def _asked(self, question: Callable[[], Mapping[str, int]]) -> Mapping[str, int]:
        try:
            return question()
        except OSError as error:
            raise InvalidInput(f"the Dask scheduler at {self._address} is gone") from error

    def _require_same_version(self) -> None:
        # A built-in function reaches a worker of any Python, without bncheck.
        told = self._client.run(eval, "__import__('bncheck').__version__", on_error="return")
        for worker, version in told.items():
            if isinstance(version, ModuleNotFoundError):
                raise InvalidInput(f"the worker at {worker} has no bncheck; {_install()}")
            if version != bncheck.__version__:
                raise InvalidInput(_other_version(worker, version))


class _Call:
    """A call that unpickling makes: a worker without bncheck can take it, and say that it has none.

    It would lose its connection over a function that it cannot import.
    """

    def __init__(self, *arguments: object) -> None:
        self._arguments = arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return do, self._arguments


def do(
    work: Callable[..., Done], batch: Sequence[Check], sources: Mapping[str, Sources | None], version: str
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
    _keep_memory()
    there = {target: _unpacked(files) for target, files in sources.items() if files is not None}
    return done(lambda check: work(check, at=there[check.target]) if check.target in there else work(check), batch)


@cache
def _keep_memory() -> None:
    """Let glibc keep memory that is free, up to 64 MB.

    Dask has its workers give it back at once; to get it again is two thirds of the time of a large check.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, 2**26)
        mallopt(M_MMAP_THRESHOLD, 2**25)


_UNPACKED: dict[Sources, str] = {}
_LOCK = threading.Lock()


def _unpacked(sources: Sources) -> str:
    """Return what a target is called on this worker, which keeps its files in its own folder."""
    from distributed import get_worker  # noqa: PLC0415 - optional

    with _LOCK:
        if sources not in _UNPACKED:
            folder = mkdtemp(prefix="bncheck-", dir=get_worker().local_directory)
            _UNPACKED[sources] = sources.unpack(Path(folder).resolve())
        return _UNPACKED[sources]


def _other_version(worker: str, theirs: object, ours: str = bncheck.__version__) -> str:
    return f"the worker at {worker} has bncheck {theirs}, and this is {ours}; {_install(ours)}"


def _install(version: str = bncheck.__version__) -> str:
    return f"install it there with: pip install bncheck=={version}"
