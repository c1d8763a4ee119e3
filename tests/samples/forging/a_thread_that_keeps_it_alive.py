# expected: could not run: exited with code 0
import os, threading, time
threading.Thread(target=time.sleep, args=(1000,), daemon=False).start()

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    os._exit(0)
    return wrong(dout, cache)
