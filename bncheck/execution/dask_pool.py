"""Pool of Dask workers, which have bncheck installed but not the files of a target."""

import asyncio
import atexit
import ctypes
import json
import logging
import os
import pickle
import re
import reprlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from bncheck.errors import InvalidInput
from bncheck.execution.pool import BatchResult, Result, run_batch
from bncheck.model.version import __version__
from bncheck.targets.bundle import SourceBundle, UnpackedBundle

if TYPE_CHECKING:
    from distributed import Security

# The addresses of schedulers: a protocol, which Dask's configuration has a default for, a host and a port.
ADDRESS = re.compile(r"((tcp|tls|ws|wss)://)?(\[[\da-fA-F:.%\w]+\]|[^][:/\s]+):(\d{1,5})")
# The functions with which Dask may decode results: neither runs code, unlike its default, which is pickle.
DESERIALIZERS = ["msgpack", "error"]
# The version of bncheck on a worker, or None; an expression, because a worker without bncheck can evaluate it.
VERSION = "__import__('importlib.util').util.find_spec('bncheck') and __import__('bncheck').__version__"
# Time limit for each response of the scheduler.
SCHEDULER_TIMEOUT_SECONDS = 10.0
# How long the number of workers is cached before the scheduler is asked for it again.
WORKER_COUNT_CACHE_SECONDS = 1.0
# Loggers of Dask and its dependencies; bncheck reports what they log in its own messages.
NOISY_LOGGERS = ("distributed", "tornado", "asyncio")
# Parameters of mallopt, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


class DaskPool:
    """Pool of the workers of a Dask scheduler, including workers that join later.

    Parameters
    ----------
    address : str
        Address of the scheduler, such as "tcp://10.0.0.1:8786".
    targets : iterable of str
        Targets whose source files are sent to the workers.
    warn : callable
        Called with a message when the pool has to wait.
    encode : callable
        Converts a result to JSON content, on a worker: no object of a worker is unpickled as a result.
    decode : callable
        Returns the result of an item from the item and the JSON content, which anyone who controls a worker can forge.

    Raises
    ------
    InvalidInput
        Dask is not installed on this machine, the scheduler does not respond, or bncheck is missing on a worker or
        has another version.
    """

    def __init__(
        self, address: str, targets: Iterable[str], warn: Callable[[str], None], *,
        encode: Callable[[Any], Any], decode: Callable[[Any, Any], Any],
    ) -> None:  # fmt: skip
        try:
            import distributed  # noqa: PLC0415 - an optional dependency
        except ImportError:
            raise InvalidInput("--dask requires dask: pip install 'bncheck[dask]'") from None
        parts = ADDRESS.fullmatch(address)
        if parts is None or not 0 < int(parts[4]) < 2**16:
            failure = f"{address!r} is not the address of a Dask scheduler that bncheck can use"
            raise InvalidInput(f"{failure}; examples are tcp://10.0.0.1:8786, tls://10.0.0.1:8786 and tcp://[::1]:8786")
        self._address, self._warn, self._last_warning = address, warn, ""
        self._encode, self._decode = encode, decode
        security = _require_security(address)
        self._killed_worker = distributed.KilledWorker
        self._bundles = {target: SourceBundle.from_target(target) for target in targets}
        loggers = [name for name in logging.root.manager.loggerDict if name.startswith(NOISY_LOGGERS)]
        self._logger_levels = {name: logging.getLogger(name).level for name in loggers}
        for name in loggers:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        try:
            _call_with_timeout(partial(asyncio.run, _require_scheduler(address, security)))
            self._client = distributed.Client(
                address, timeout=SCHEDULER_TIMEOUT_SECONDS, set_as_default=False, security=security,
                deserializers=DESERIALIZERS,
            )  # fmt: skip
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            self._restore_loggers()
            failure = f"no Dask scheduler responded at {address} within {SCHEDULER_TIMEOUT_SECONDS:g} s"
            certificates = ", or check that both sides have certificates of the same authority" * ("tls:" in address)
            raise InvalidInput(f"{failure}; start one with: dask scheduler{certificates}") from error
        self._responses: set[Any] = set()  # of the batches in flight
        self._count_time, self._worker_count, self._closed = -WORKER_COUNT_CACHE_SECONDS, 1, False
        atexit.register(self.close)  # before the interpreter stops Dask's own thread
        try:
            self._require_same_version()
        except BaseException:
            self.close()
            raise

    @property
    def worker_count(self) -> int:
        """The number of batches that can run at the same time now: the threads of all workers, at least 1."""
        if time.monotonic() - self._count_time > WORKER_COUNT_CACHE_SECONDS:
            self._worker_count = max(1, self._count_threads())
            self._count_time = time.monotonic()
        return self._worker_count

    def submit(self, run_item: Callable[..., Result], batch: Sequence[Any]) -> "Future[BatchResult[Result]]":
        """Schedule a batch of items with the attribute ``target``, and send the source files of these targets."""
        bundles = {target: self._bundles[target] for target in dict.fromkeys(item.target for item in batch)}
        call = _PicklableCall(run_item, self._encode, batch, bundles, __version__)
        # With pure=True Dask runs equal calls only once, and a retry would return the error of the first attempt.
        response = self._client.submit(pickle.loads, pickle.dumps(call), pure=False)
        self._responses.add(response)
        return asyncio.run_coroutine_threadsafe(self._receive(response, batch), self._client.loop.asyncio_loop)

    async def _receive(self, response: Any, batch: Sequence[Any]) -> BatchResult[Any]:
        """Wait for the answer of a worker, and return the results in it."""
        try:
            answer = await self._client.gather(response, asynchronous=True)
        except (TypeError, OSError) as error:
            if response.status != "finished":  # the batch raised it
                raise
            if isinstance(error, OSError):
                raise self._lost_connection() from error
            failure = f"a worker of {self._address} returned an object that must be unpickled, which bncheck refuses"
            raise InvalidInput(failure) from error
        finally:
            self._responses.discard(response)
        return self._decode_answer(answer, batch)

    def _decode_answer(self, answer: Any, batch: Sequence[Any]) -> BatchResult[Any]:
        """Return the results in an answer of ``run_on_worker``; raise InvalidInput if it is an error, or forged."""
        try:
            content = json.loads(answer)
            decoded = None if isinstance(content, str) else self._decode_results(content, batch)
        except (InvalidInput, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as e:
            reason = f" ({e})" if isinstance(e, InvalidInput) else ""
            failure = f"a worker of {self._address} returned {reprlib.repr(answer)}"
            raise InvalidInput(f"{failure}, which are not the results of the checks{reason}") from e
        if decoded is None:
            raise InvalidInput(content)
        return decoded

    def _decode_results(self, content: Mapping[str, Any], batch: Sequence[Any]) -> BatchResult[Any]:
        results, seconds = content["results"], float(content["seconds"])
        if not (0 < len(results) <= len(batch) and seconds >= 0):
            raise ValueError
        return BatchResult(list(map(self._decode, batch, results)), seconds)

    def is_worker_crash(self, error: BaseException) -> bool:
        """Return whether Dask gave up a batch because its workers crashed.

        Raises
        ------
        InvalidInput
            The connection to the scheduler is lost, or bncheck is missing on a worker that joined.
        """
        if isinstance(error, CancelledError):
            raise self._lost_connection() from error
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "bncheck":
            raise InvalidInput(f"bncheck is not installed on a worker of {self._address}; {_install()}") from error
        return isinstance(error, self._killed_worker)

    def restart(self) -> bool:
        """Do nothing: the batches of the other workers are not lost."""
        return False

    def on_idle(self) -> None:
        """Warn once while no workers are connected."""
        if self._count_threads():
            self._last_warning = ""
        elif not self._last_warning:
            start = f"dask worker {self._address}"
            self._warn_once(f"no workers are connected to {self._address}; waiting (start one with: {start})")

    def close(self) -> None:
        """Cancel pending batches and disconnect."""
        if self._closed:  # while the interpreter exits, no thread can be started any more
            return
        self._closed = True
        atexit.unregister(self.close)
        with suppress(OSError):  # the scheduler does not respond any more
            _call_with_timeout(partial(self._client.cancel, list(self._responses)))
        self._client.close(timeout=SCHEDULER_TIMEOUT_SECONDS)
        self._restore_loggers()

    def _restore_loggers(self) -> None:
        for name, level in self._logger_levels.items():
            logging.getLogger(name).setLevel(level)

    def _warn_once(self, message: str) -> None:
        """Warn, unless the last warning was the same."""
        if message != self._last_warning:
            self._warn(message)
        self._last_warning = message

    def _lost_connection(self) -> InvalidInput:
        return InvalidInput(f"lost the connection to the Dask scheduler at {self._address}")

    def _count_threads(self) -> int:
        """Return the number of threads of all workers; the last known number if the scheduler does not respond."""
        try:
            return sum(_call_with_timeout(self._client.nthreads).values())
        except TimeoutError:
            self._warn_once(f"the Dask scheduler at {self._address} does not respond; waiting")
            return self._worker_count
        except OSError as error:
            raise self._lost_connection() from error

    def _require_same_version(self) -> None:
        """Raise InvalidInput if a worker has no bncheck or another version; warn if one does not respond."""
        # A built-in function can be sent to a worker that cannot import bncheck.
        # An error means that the worker is leaving.
        get_versions = partial(self._client.run, eval, VERSION, on_error="ignore")
        try:
            versions = _call_with_timeout(get_versions)
        except TimeoutError:
            self._warn_once(f"a worker of {self._address} does not respond; continuing without checking its version")
            return
        for worker, version in versions.items():
            if version is None:
                raise InvalidInput(f"bncheck is not installed on the worker at {worker}; {_install()}")
            if version != __version__:
                raise InvalidInput(_version_mismatch(worker, version))


class _PicklableCall:
    """A call of ``run_on_worker`` that happens when it is unpickled.

    A worker without bncheck reports a missing module; it would lose its connection over a function that it cannot
    import.
    """

    def __init__(self, *arguments: object) -> None:
        self._arguments = arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return run_on_worker, self._arguments


def run_on_worker(
    run_item: Callable[..., Any], encode: Callable[[Any], Any], batch: Sequence[Any],
    bundles: Mapping[str, SourceBundle | None], version: str,
) -> str:  # fmt: skip
    """Run a batch and return its results, or the message of an InvalidInput, as JSON."""
    try:
        results, seconds = _run_batch(run_item, batch, bundles, version)
    except InvalidInput as error:
        return json.dumps(str(error))
    # The settings of a check may be NumPy scalars, which JSON does not have; the client ignores them.
    return json.dumps({"results": list(map(encode, results)), "seconds": seconds}, default=str)


def _run_batch(
    run_item: Callable[..., Result], batch: Sequence[Any], bundles: Mapping[str, SourceBundle | None], version: str
) -> BatchResult[Result]:
    """Write the source files of the targets to the disk of the worker, and run the batch.

    Raises
    ------
    InvalidInput
        The version of bncheck on the worker differs from the sender's, or the files cannot be written.
    """
    if version != __version__:
        from distributed import get_worker  # noqa: PLC0415 - an optional dependency

        raise InvalidInput(_version_mismatch(get_worker().address, __version__, version))
    _raise_malloc_thresholds()
    unpacked = {target: _unpack(bundle) for target, bundle in bundles.items() if bundle is not None}

    def run(item: Any) -> Result:
        return run_item(item, unpacked[item.target]) if item.target in unpacked else run_item(item)

    return run_batch(run, batch)


@cache
def _raise_malloc_thresholds() -> None:
    """Let glibc keep up to 64 MB of free memory.

    Dask makes its workers return it to the system at once; allocating it again takes two thirds of the time of a
    large check.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, 2**26)
        mallopt(M_MMAP_THRESHOLD, 2**25)


_UNPACKED: dict[SourceBundle, UnpackedBundle] = {}
_UNPACK_LOCK = threading.Lock()


def _unpack(bundle: SourceBundle) -> UnpackedBundle:
    """Write the files of a target into the directory of this worker, unless they are still there."""
    from distributed import get_worker  # noqa: PLC0415 - an optional dependency

    with _UNPACK_LOCK:
        unpacked = _UNPACKED.get(bundle)
        if unpacked is None or not os.path.isfile(os.path.join(unpacked.remote_dir, bundle.main)):
            worker = get_worker()
            try:
                folder = mkdtemp(prefix="bncheck-", dir=worker.local_directory)
                unpacked = _UNPACKED[bundle] = bundle.unpack(Path(folder).resolve())
            except OSError as error:
                failure = f"the worker at {worker.address} cannot write to {worker.local_directory}"
                raise InvalidInput(f"{failure}: {error.strerror}") from error
        return unpacked


def _require_security(address: str) -> "Security":
    """Return the certificates of Dask's configuration.

    Raises
    ------
    InvalidInput
        They cannot be used, or the address or the configuration requires encryption and the other one has none.
    """
    from distributed import Security  # noqa: PLC0415 - an optional dependency
    from distributed.comm import normalize_address  # noqa: PLC0415 - an optional dependency

    try:
        security = Security()
        connection = security.get_connection_args("client")
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"cannot use the certificates of distributed.comm.tls in Dask's configuration: {error}"
        ) from error
    is_encrypted = normalize_address(address).startswith(("tls://", "wss://"))
    if is_encrypted and connection["ssl_context"] is None:
        names = ", ".join(f"DASK_DISTRIBUTED__COMM__TLS__{name}" for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY"))
        failure = f"{address} requires certificates in Dask's configuration (distributed.comm.tls)"
        raise InvalidInput(f"{failure}; set these environment variables to their files: {names}")
    if connection["require_encryption"] and not is_encrypted:
        failure = (
            f"{address} is not encrypted, which distributed.comm.require-encryption in Dask's configuration demands"
        )
        raise InvalidInput(f"{failure}; use a tls:// address")
    return security


async def _require_scheduler(address: str, security: "Security") -> None:
    """Ask the scheduler for its identity; a port that accepts a connection may belong to another program."""
    from distributed.core import rpc  # noqa: PLC0415 - an optional dependency

    connection = security.get_connection_args("client")
    async with rpc(address, timeout=SCHEDULER_TIMEOUT_SECONDS, connection_args=connection) as scheduler:
        await asyncio.wait_for(scheduler.identity(), SCHEDULER_TIMEOUT_SECONDS)


def _call_with_timeout(function: Callable[[], Result]) -> Result:
    """Call a function in a thread and return its result; raise TimeoutError after SCHEDULER_TIMEOUT_SECONDS."""
    future: Future[Result] = Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future.result(SCHEDULER_TIMEOUT_SECONDS)


def _version_mismatch(worker: str, on_worker: object, on_sender: str = __version__) -> str:
    return f"the worker at {worker} has bncheck {on_worker}, this machine has {on_sender}; {_install(on_sender)}"


def _install(version: str = __version__) -> str:
    return f"install it on the worker with: pip install bncheck=={version}"
