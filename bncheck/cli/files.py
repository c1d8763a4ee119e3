"""Files that are replaced as a unit: after a crash or on a full disk, the old or the new content is complete."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO


def identify(path: str) -> object:
    """Return a value that is equal for two paths of the same file; None for a pipe, a device or a folder."""
    try:
        status = os.stat(path)
    except OSError:  # no file yet
        return os.path.realpath(path)
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def require_replaceable(path: str) -> None:
    """Check that ``replace_content`` can write a file; the file is not changed.

    Raises
    ------
    OSError
        It cannot, for example because the folder does not exist or is read-only.
    """
    status = _status(path)
    if status is not None and not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        if not os.access(path, os.W_OK):  # a pipe is not opened, which would wait for its reader
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    if status is not None:
        open(path, "ab").close()
    with _temporary_file(os.path.dirname(os.path.realpath(path))):
        pass


def replace_content(path: str, content: bytes) -> None:
    """Write a new file next to a file, with its permissions, and rename it; write to a pipe or a device directly.

    A symbolic link keeps its target, which is replaced.

    Raises
    ------
    OSError
        The file cannot be written; the old content is unchanged.
    """
    status = _status(path)
    if status is not None and not stat.S_ISREG(status.st_mode):
        _write_in_place(path, content)
        return
    path = os.path.realpath(path)
    with _temporary_file(os.path.dirname(path)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if status is not None:
            _set_permissions(file.name, status)
        file.close()
        try:
            os.replace(file.name, path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            _write_in_place(path, content)  # a single file that is mounted into a container cannot be renamed


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _set_permissions(path: str, status: os.stat_result) -> None:
    with suppress(OSError, AttributeError):  # only root can give a file to another user; Windows has no owners
        os.chown(path, status.st_uid, status.st_gid)
    os.chmod(path, stat.S_IMODE(status.st_mode))


def _write_in_place(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


@contextmanager
def _temporary_file(folder: str) -> Iterator[BinaryIO]:
    """Create a file in a folder, and remove it at the end if it is still there."""
    path = os.path.join(folder, f".bncheck-{os.urandom(8).hex()}.tmp")
    try:
        with open(path, "xb") as file:
            yield file
    finally:
        with suppress(OSError):
            os.remove(path)
