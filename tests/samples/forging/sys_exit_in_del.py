# expected: fail
import os, sys
class Ends:
    def __del__(self):
        sys.exit(0)

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    Ends()
    return wrong(dout, cache)
