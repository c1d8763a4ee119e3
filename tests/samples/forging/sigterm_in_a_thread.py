# expected: could not run: was terminated by SIGTERM
import os, sys, threading

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    thread = threading.Thread(target=lambda: os.kill(os.getpid(), 15)); thread.start(); thread.join()
    return wrong(dout, cache)
