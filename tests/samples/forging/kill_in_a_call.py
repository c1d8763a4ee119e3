# expected: could not run: was terminated by SIGKILL
import os, sys

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    os.kill(os.getpid(), 9)
    return wrong(dout, cache)
