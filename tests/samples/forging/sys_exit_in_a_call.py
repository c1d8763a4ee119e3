# expected: could not run: called sys.exit(0)
import os, sys

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    sys.exit(0)
    return wrong(dout, cache)
