"""Messages between bncheck and the child process: JSON, followed by the bytes of arrays. Nothing in them is executed.

A message is the length of its header in 4 bytes, the header in JSON, and the bytes of the arrays that the header lists.
"""

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bncheck.targets.target import Argument, Default

AnyArray: TypeAlias = npt.NDArray[Any]
Header: TypeAlias = dict[str, Any]

# The dtypes of arrays in a message: integers and floating-point numbers of at most 8 bytes.
DTYPES = {np.dtype(code).str: np.dtype(code) for code in "efdbhiqBHIQ"}
# Bytes of a header; that with all names of a module has about 20 kB.
MAX_HEADER_BYTES = 2**22
LENGTH = struct.Struct("<I")
# Messages up to this size are written in one piece.
MAX_JOINED_BYTES = 2**18


class MessageError(ValueError):
    """Bytes that are not a message, or a message with other content than was requested."""


def send(write: Callable[[memoryview], None], header: Header, arrays: Sequence[AnyArray] = ()) -> None:
    """Write a message.

    Parameters
    ----------
    write : callable
        Writes all bytes of a buffer.
    header : dict
        JSON content without the key "arrays".
    arrays : sequence of ndarray
        Arrays with a dtype in ``DTYPES``.

    Raises
    ------
    MessageError
        The header is too long; no bytes are written.
    """
    described, buffers = [], []
    for array in arrays:
        is_transposed = array.flags.f_contiguous and not array.flags.c_contiguous
        contiguous = np.ascontiguousarray(array.T if is_transposed else array)
        described.append([array.dtype.str, array.shape, is_transposed])
        buffers.append(contiguous)
    text = json.dumps({**header, "arrays": described}).encode()
    if len(text) > MAX_HEADER_BYTES:
        raise MessageError
    parts: list[bytes | memoryview] = [
        LENGTH.pack(len(text)),
        text,
        *(buffer.reshape(-1).view(np.uint8).data for buffer in buffers),
    ]
    if sum(buffer.nbytes for buffer in buffers) <= MAX_JOINED_BYTES:  # a copy takes less time than a system call
        parts = [b"".join(parts)]
    for part in parts:
        write(memoryview(part))


def receive(read_into: Callable[[memoryview], None], max_bytes: int) -> tuple[Header, list[AnyArray]]:
    """Read a message.

    Parameters
    ----------
    read_into : callable
        Fills a buffer.
    max_bytes : int
        Largest total size of the arrays.

    Raises
    ------
    MessageError
        The bytes are not a message, or the arrays are larger.
    """
    prefix = bytearray(LENGTH.size)
    read_into(memoryview(prefix))
    (length,) = LENGTH.unpack(prefix)
    if length > MAX_HEADER_BYTES:
        raise MessageError
    text = bytearray(length)
    read_into(memoryview(text))
    try:
        header = json.loads(text)
        described = [_parse_array(*item) for item in header["arrays"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise MessageError from error
    if sum(dtype.itemsize * size for dtype, _, size, _ in described) > max_bytes:
        raise MessageError
    arrays = []
    for dtype, shape, size, is_transposed in described:
        array: AnyArray = np.empty(size, dtype)
        if size:
            read_into(array.view(np.uint8).data)
        arrays.append(array.reshape(shape[::-1]).T if is_transposed else array.reshape(shape))
    return header, arrays


def _parse_array(code: str, shape: list[int], is_transposed: bool) -> tuple[np.dtype[Any], tuple[int, ...], int, bool]:
    """Return the dtype, the shape, the number of entries and the order of an array in a message."""
    sizes, count = tuple(map(require_count, shape)), 1
    if len(sizes) > MAX_DIMENSIONS or math.prod(max(size, 1) for size in sizes) > MAX_SIZES_PRODUCT:
        raise MessageError
    for size in sizes:
        count *= size
    return DTYPES[code], sizes, count, is_transposed is True


# NumPy 1 has at most 32 dimensions. The product of the sizes, except those of 0, is limited by its 63-bit addresses,
# also for an array without entries; an entry has at most 8 bytes.
MAX_DIMENSIONS, MAX_SIZES_PRODUCT = 32, 2**59


def require_count(value: object) -> int:
    """Return a value that is an integer of at least 0.

    Raises
    ------
    MessageError
        It is something else.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise MessageError
    return value


def require_text(value: object) -> str:
    """Return a value that is a string.

    Raises
    ------
    MessageError
        It is something else.
    """
    if not isinstance(value, str):
        raise MessageError
    return value


def to_json(argument: Argument, arrays: list[AnyArray]) -> Any:
    """Return the JSON of an argument of a call; its arrays are appended to ``arrays``."""
    if isinstance(argument, np.ndarray):
        arrays.append(argument)
        return {"array": len(arrays) - 1}
    if isinstance(argument, Mapping):
        return {"mapping": {name: to_json(value, arrays) for name, value in argument.items()}}
    return {"default": True} if argument is Default.DEFAULT else argument


def from_json(content: Any, arrays: Sequence[AnyArray]) -> Argument:
    """Return the argument of a call that ``to_json`` converted."""
    if not isinstance(content, dict):
        return content
    if "array" in content:
        return arrays[content["array"]]
    if "mapping" in content:
        return {name: from_json(value, arrays) for name, value in content["mapping"].items()}
    return Default.DEFAULT
