"""Forward/backward pairs, the functions of a target that belong together."""

from typing import NamedTuple

from bncheck.model.components import NETWORK, Component


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
