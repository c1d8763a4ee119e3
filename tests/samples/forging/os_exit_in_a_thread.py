# expected: could not run: exited with code 0
import os, sys, threading

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    thread = threading.Thread(target=lambda: os._exit(0)); thread.start(); thread.join()
    return wrong(dout, cache)
