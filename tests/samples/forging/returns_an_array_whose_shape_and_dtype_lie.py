# expected: fail
import numpy as np
class Lying(np.ndarray):
    shape = property(lambda self: ())
    dtype = property(lambda self: "pass")
    nbytes = property(lambda self: 0)

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    dx, dgamma, dbeta = wrong(dout, cache)
    return dx.view(Lying), dgamma, dbeta
