# expected: could not run: was terminated by SIGABRT
import os, sys

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    os.abort()
    return wrong(dout, cache)
