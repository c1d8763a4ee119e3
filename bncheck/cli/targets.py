"""The targets of a command: patterns are expanded, and the first file begins to load before slow imports."""

import os
from collections.abc import Sequence

from bncheck.targets import BUILT_IN
from bncheck.targets.loading import expand_pattern

# A thread of OpenBLAS waits for 2^26 clock cycles in a loop before it sleeps; on two cores, it then takes the time that
# the child process needs: a check of a small file takes 15 % longer. After 2^14 cycles it does not.
BLAS_WAIT = ("OPENBLAS_THREAD_TIMEOUT", "14")


def expand_targets(targets: Sequence[str]) -> list[str]:
    """Return the targets with patterns replaced by the files that match; the reference if there is no target."""
    return [name for target in targets or ("reference",) for name in expand_pattern(target)]


def prepare_for(names: Sequence[str]) -> None:
    """Prepare this process for the code under test, if a target is not built in."""
    if any(name not in BUILT_IN for name in names):
        from bncheck.execution.processes import prepare_process  # noqa: PLC0415 - slow import, only needed for a file

        prepare_process()


def load_targets(targets: Sequence[str]) -> list[str]:
    """Expand the targets, and start the child process of the first one if it is a file.

    Raises
    ------
    InvalidInput
        A pattern matches nothing, or a target is neither a Python file, a module nor built in.
    """
    names = expand_targets(targets)
    if names[0] not in BUILT_IN:
        from bncheck.execution import children  # noqa: PLC0415 - slow import, only needed for a file

        os.environ.setdefault(*BLAS_WAIT)
        children.start(names[0])
    prepare_for(names)
    return names
