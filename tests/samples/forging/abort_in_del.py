# expected: could not run: was terminated by SIGABRT
import os, sys
class Ends:
    def __del__(self):
        os.abort()

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    Ends()
    return wrong(dout, cache)
