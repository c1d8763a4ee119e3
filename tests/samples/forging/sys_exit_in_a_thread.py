# expected: fail
import os, sys, threading

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    thread = threading.Thread(target=lambda: sys.exit(0)); thread.start(); thread.join()
    return wrong(dout, cache)
