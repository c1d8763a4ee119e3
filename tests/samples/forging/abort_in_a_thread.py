# expected: could not run: was terminated by SIGABRT
import os, sys, threading

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    thread = threading.Thread(target=lambda: os.abort()); thread.start(); thread.join()
    return wrong(dout, cache)
