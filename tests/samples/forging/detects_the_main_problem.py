# expected: fail
calls = []
wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    calls.append(dout.shape)
    dx, dgamma, dbeta = wrong(dout, cache)
    return (dx * 0 if dout.shape == calls[0] else dx), dgamma, dbeta
