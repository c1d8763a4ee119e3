# expected: could not run: exited with code 0
import os, sys

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    os._exit(0)
    return wrong(dout, cache)
