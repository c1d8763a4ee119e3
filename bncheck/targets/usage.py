"""The ways in which a forward/backward pair is called."""

import enum

import numpy as np

from bncheck.model.layers import Array


class Usage(enum.Enum):
    """A sequence of calls and the memory layout of dout; the value says which call returned the gradients."""

    FIRST = ""
    REPEATED = "in the second of two equal calls"
    BACKWARD_TWICE = "in a second backward call with the same cache"
    INTERLEAVED = "in a backward call after a forward call on other data"
    STRIDED = "for a dout that is a strided view"
    EXPANDED = "for a dout whose rows share their memory"
    TRANSPOSED = "for a dout in Fortran order"

    def arrange(self, dout: Array) -> Array:
        """Return dout in the memory layout of this usage; the rows of dout must be equal for EXPANDED."""
        if self is Usage.STRIDED:
            view = np.zeros((2 * dout.shape[0], 2 * dout.shape[1]))[::2, ::2]
            view[...] = dout
            return view
        if self is Usage.EXPANDED:
            return np.broadcast_to(dout[:1].copy(), dout.shape)
        return np.asfortranarray(dout) if self is Usage.TRANSPOSED else dout
