# expected: could not run: was terminated by SIGTERM
import os, sys

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    os.kill(os.getpid(), 15)
    return wrong(dout, cache)
