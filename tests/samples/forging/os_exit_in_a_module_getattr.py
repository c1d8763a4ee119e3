# expected: could not run: exited with code 0
import os, sys
backward = batchnorm_backward
del batchnorm_backward
__dir__ = lambda: ["batchnorm_forward", "batchnorm_backward"]
def __getattr__(name):
    os._exit(0)
