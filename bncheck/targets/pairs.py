"""Forward/backward pairs, the functions of a target that belong together, and the ways in which they are called."""

import enum
from typing import NamedTuple

import numpy as np

from bncheck.model.components import NETWORK, Component
from bncheck.model.layers import Array


class Pair(NamedTuple):
    """A forward function and its backward function."""

    component: Component
    forward: str | None  # name of the layer function; None for a network
    backward: str | None  # name of the layer function; None for a network, or if the function is missing
    optional: bool  # if it raises, the check fails but the other pairs are still checked

    @property
    def is_network(self) -> bool:
        """Whether the pair is ``forward`` and ``backward`` of a network."""
        return self.forward is None

    @property
    def has_backward(self) -> bool:
        """Whether there is a backward function."""
        return self.is_network or self.backward is not None

    @property
    def forward_name(self) -> str:
        """The name of the forward function."""
        return self.forward or "forward"

    @property
    def backward_name(self) -> str:
        """The name of the backward function."""
        return self.backward or "backward"


def argument_names(component: Component) -> tuple[str, ...]:
    """Return the inputs that a forward function of a component takes: h is computed inside the network."""
    return component.inputs[:-1] if component is NETWORK else component.inputs


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
