# expected: fail
import numpy as np
class Equal(np.ndarray):
    __eq__ = __le__ = __lt__ = __ge__ = __gt__ = lambda self, other: np.ones(self.shape, bool)
    __sub__ = __rsub__ = __abs__ = lambda self, *other: np.zeros(self.shape)
    def __array_function__(self, *_):
        return np.zeros(self.shape)
    def __array_ufunc__(self, *_, **__):
        return np.zeros(self.shape)

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    dx, dgamma, dbeta = wrong(dout, cache)
    return dx.view(Equal), dgamma.view(Equal), dbeta.view(Equal)
