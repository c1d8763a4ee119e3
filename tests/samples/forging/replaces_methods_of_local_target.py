# expected: fail
from bncheck.targets.local import LocalTarget
import numpy as np
LocalTarget._note_side_effects = lambda *_: None
read = LocalTarget._read
LocalTarget._read = lambda self, name, value: read(self, name, value)
import bncheck.targets.local as local
local._are_equal = lambda one, other: True
