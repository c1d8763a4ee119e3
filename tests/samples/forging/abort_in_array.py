# expected: could not run: was terminated by SIGABRT
import os, sys
class Ends:
    def __array__(self, *_, **__):
        os.abort()
def batchnorm_backward(dout, cache):
    return Ends(), Ends(), Ends()
