# expected: pass
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    N = len(x)
    xc = x - x.mean(0)
    std = np.sqrt((xc ** 2).mean(0) + bn_param["eps"])
    xhat = xc / std
    def pull(dout):
        dgamma, dbeta = (dout * xhat).sum(0), dout.sum(0)
        return gamma / std * (dout - dbeta / N - xhat * dgamma / N), dgamma, dbeta
    return gamma * xhat + beta, pull

batchnorm_backward = lambda dout, cache: cache(dout)
