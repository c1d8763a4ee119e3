# expected: could not run: was terminated by SIGTERM
import os, sys
class Ends:
    def __array__(self, *_, **__):
        os.kill(os.getpid(), 15)
def batchnorm_backward(dout, cache):
    return Ends(), Ends(), Ends()
