# expected: not pass
import numpy as np
class Changing:
    reads = 0
    def __init__(self, array):
        self.array = array
    shape = property(lambda self: (Changing.reads, 1))
    dtype = property(lambda self: f"float{Changing.reads}")
    def __eq__(self, other):
        return True
    __hash__ = None
    def __array__(self, *_, **__):
        Changing.reads += 1
        return self.array * Changing.reads

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    dx, dgamma, dbeta = wrong(dout, cache)
    return Changing(dx), Changing(dgamma), Changing(dbeta)
