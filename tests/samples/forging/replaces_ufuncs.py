# expected: not pass
import numpy
for name in ("abs", "absolute", "subtract", "greater", "less", "less_equal", "greater_equal", "isnan", "isfinite"):
    setattr(numpy, name, lambda *a, **_: a[0] * 0)
