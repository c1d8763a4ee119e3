# expected: not pass
import os

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    os._exit(0) if os.fork() else None
    return wrong(dout, cache)
