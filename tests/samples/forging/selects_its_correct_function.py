# expected: not pass
import sys, types
sys.modules["other"] = types.ModuleType("other")
sys.modules["other"].__dict__.update(relu_forward=relu_forward, relu_backward=relu_backward)
relu_forward.__module__ = "other"
sys.modules[__name__] = relu_forward
