# expected: could not run: was terminated by SIGKILL
import os, sys, threading

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    thread = threading.Thread(target=lambda: os.kill(os.getpid(), 9)); thread.start(); thread.join()
    return wrong(dout, cache)
