"""The ways in which a pair of functions is called, beside a single forward and backward call."""

import enum

import numpy as np

from bncheck.model.layers import Array


class Usage(enum.Enum):
    """How a forward and a backward function are called; the value says which call gave the answer."""

    ONCE = ""
    REPEATED = "in the second of two equal calls"
    BACKWARD_TWICE = "in a second backward call with the same cache"
    INTERLEAVED = "in a backward call after a forward call on other data"
    STRIDED = "for a dout that is a strided view"
    EXPANDED = "for a dout whose rows share their memory"
    TRANSPOSED = "for a dout in Fortran order"

    def arrange(self, dout: Array) -> Array:
        """Return dout in the memory layout of this usage; for EXPANDED its rows must be equal."""
        if self is Usage.STRIDED:
            backing = np.zeros((2 * dout.shape[0], 2 * dout.shape[1]))
            view = backing[::2, ::2]
            view[...] = dout
            return view
        if self is Usage.EXPANDED:
            return np.broadcast_to(dout[:1].copy(), dout.shape)
        return np.asfortranarray(dout) if self is Usage.TRANSPOSED else dout
