"""The arrays that the code under test receives and returns: NumPy's, and tensors of other libraries."""

import sys
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bncheck.model.layers import Array
from bncheck.model.problem import FloatArray
from bncheck.targets.target import Value

# Dtypes that NumPy does not have; float32 represents every value of them.
READ_AS_FLOAT32 = ("bfloat16", "float8_e4m3fn", "float8_e5m2")


class Unreadable(NamedTuple):
    """An array that contains no real numbers, or too many of them."""

    dtype: str
    shape: tuple[int, ...]
    is_too_large: bool


def read_value(value: Any, max_bytes: int = sys.maxsize) -> Value:
    """Return a copy of a value as a NumPy array of real numbers, and the name of its dtype in its own library.

    A torch tensor is detached and copied to the CPU, and bfloat16 is converted to float32. A value without real numbers
    (a ragged list, strings, an object) or with more than ``max_bytes`` becomes an ``Unreadable``.
    """
    try:
        array = _copy_tensor(value) if _is_torch_tensor(value) else np.array(value)
    except Exception as error:  # noqa: BLE001 - __array__ of an object of the code under test may raise anything
        if hasattr(value, "dtype") and hasattr(value, "shape"):
            kind = f"{type(value).__module__.partition('.')[0]} {type(value).__name__}"
            text = str(error).strip().partition("\n")[0]
            reason = f"is a {kind} that cannot be read as a NumPy array ({text}); return numbers"
            return Value(unreadable("object"), "object", reason)
        return Value(unreadable("object"), "object")
    dtype = str(getattr(value, "dtype", array.dtype)).rpartition(".")[2]  # torch.float32 -> float32
    if array.dtype.name in READ_AS_FLOAT32:
        array = array.astype(np.float32)
    if array.dtype.kind == "f" and array.itemsize > 8:  # long double
        array = array.astype(np.float64)
    if array.dtype.kind not in "fiu":
        is_none = array.dtype == object and array.size == 1 and array.item(0) is None
        array = unreadable("None" if is_none else str(array.dtype), array.shape)
    elif array.nbytes > max_bytes:
        array = unreadable(str(array.dtype), array.shape, is_too_large=True)
    return Value(array, dtype)


def unreadable(dtype: str, shape: tuple[int, ...] = (), *, is_too_large: bool = False) -> npt.NDArray[Any]:
    """Return an array of dtype object that contains an ``Unreadable``."""
    array = np.empty((), dtype=object)
    array[()] = Unreadable(dtype, shape, is_too_large)
    return array


def _is_torch_tensor(value: Any) -> bool:
    """Return whether a value is a torch tensor; torch is not imported, since code that returns one has imported it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, getattr(torch, "Tensor", ()))


def _copy_tensor(tensor: Any) -> npt.NDArray[Any]:
    tensor = tensor.detach().resolve_conj().cpu()
    if str(tensor.dtype).rpartition(".")[2] in READ_AS_FLOAT32:
        tensor = tensor.float()
    return np.array(tensor.numpy())


def as_float64(name: str, returned: npt.NDArray[Any], shape: tuple[int, ...]) -> tuple[FloatArray, str]:
    """Convert a returned array to float64 and check its shape.

    Returns
    -------
    array : ndarray
        The values; all NaN if the array does not contain real numbers of that shape.
    defect : str
        What is wrong with the dtype or the shape; empty if nothing is.
    """
    content = returned.item() if returned.dtype == object and returned.size == 1 else None
    actual, dtype = returned.shape, str(returned.dtype)
    if isinstance(content, Unreadable):
        actual, dtype = content.shape, content.dtype
    has_wrong_shape = isinstance(content, Unreadable) and content.is_too_large and actual != shape
    if returned.dtype.kind not in "fiu" and not has_wrong_shape:
        defect = f"{name} is {dtype}, expected real numbers of shape {shape}"
    elif actual != shape:
        defect = f"{name} has shape {actual}, expected {shape}{_probable_cause(actual, shape)}"
    else:
        return returned.astype(np.float64, copy=False), ""
    return np.full(shape, np.nan), defect


def _probable_cause(shape: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """Return the probable cause of a wrong shape as a question, or an empty string."""
    if shape == expected[::-1]:
        return "; is it transposed?"
    if len(shape) > len(expected) and shape[-1:] == expected:
        return "; is the sum over the batch missing?"
    return "; is it summed over too many axes?" if len(shape) < len(expected) else ""


def copy_with_strides(array: Array) -> Array:
    """Return a copy that is contiguous, strided or expanded like the original.

    The copy of an expanded array, whose entries share memory, is read-only like the original.
    """
    if array.flags.c_contiguous or array.flags.f_contiguous:
        return array.copy(order="A")
    if 0 in array.strides:
        distinct = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in array.strides)
        return np.broadcast_to(array[distinct].copy(), array.shape)
    buffer = np.zeros([2 * size for size in array.shape], array.dtype)
    copy: Array = buffer[tuple(slice(None, None, 2) for _ in array.shape)]
    copy[...] = array
    return copy
