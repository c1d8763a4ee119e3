# expected: could not run: closed a file descriptor that it did not open
import os

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    os.closerange(0, 256)
    return wrong(dout, cache)
