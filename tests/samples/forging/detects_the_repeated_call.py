# expected: fail
calls = {}

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    dx, dgamma, dbeta = wrong(dout, cache)
    return (calls.setdefault(dout.tobytes(), dx), dgamma, dbeta)
