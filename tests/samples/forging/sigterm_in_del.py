# expected: could not run: was terminated by SIGTERM
import os, sys
class Ends:
    def __del__(self):
        os.kill(os.getpid(), 15)

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    Ends()
    return wrong(dout, cache)
