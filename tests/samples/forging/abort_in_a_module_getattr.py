# expected: could not run: was terminated by SIGABRT
import os, sys
backward = batchnorm_backward
del batchnorm_backward
__dir__ = lambda: ["batchnorm_forward", "batchnorm_backward"]
def __getattr__(name):
    os.abort()
