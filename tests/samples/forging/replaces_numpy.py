# expected: not pass
import numpy
class Zero:
    def __call__(self, *arguments, **named):
        return arguments[0] * 0 if arguments and hasattr(arguments[0], "shape") else self
    def __getattr__(self, name):
        return self
for name, value in list(vars(numpy).items()):
    if callable(value) and not isinstance(value, type) and not name.startswith("_"):
        setattr(numpy, name, Zero())
