"""Reading the arrays that code under test returns: NumPy's, and the tensors of other libraries."""

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from bncheck.errors import TargetError

# The dtypes that NumPy does not have itself: float32 holds every value of them.
READ_AS_FLOAT32 = ("bfloat16", "float8_e4m3fn", "float8_e5m2")


def read(name: str, value: Any) -> tuple[npt.NDArray[Any], str]:
    """Return a value as a NumPy array of its own, and the name of the dtype that it has in its library.

    A torch tensor is detached and copied to the CPU. bfloat16 is read through float32. What has no numbers (a
    ragged list, an object) becomes an array of dtype object, which is judged as such.

    Raises
    ------
    TargetError
        The value is a tensor or an array of another library that cannot be converted.
    """
    try:
        array = _of_torch(value) if _is_torch_tensor(value) else np.array(value)
    except Exception as error:
        if _is_array(value):
            kind = f"{type(value).__module__.partition('.')[0]} {type(value).__name__}"
            text = str(error).strip().partition("\n")[0]
            raise TargetError(
                f"{name} is a {kind} that cannot be read as a NumPy array ({text}); return numbers"
            ) from error
        return np.array(object()), "object"
    dtype = str(getattr(value, "dtype", array.dtype)).rpartition(".")[2]  # torch.float32, float32
    if array.dtype.name in READ_AS_FLOAT32:
        array = array.astype(np.float32)
    return array, dtype


def _is_torch_tensor(value: Any) -> bool:
    """Tell whether a value is a torch tensor; code that returns one has imported torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, getattr(torch, "Tensor", ()))


def _of_torch(tensor: Any) -> npt.NDArray[Any]:
    tensor = tensor.detach().resolve_conj().cpu()
    if str(tensor.dtype).rpartition(".")[2] in READ_AS_FLOAT32:
        tensor = tensor.float()
    return np.array(tensor.numpy())


def _is_array(value: Any) -> bool:
    """Tell whether a value presents itself as an array: it has a dtype and a shape."""
    return hasattr(value, "dtype") and hasattr(value, "shape")
