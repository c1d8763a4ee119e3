# expected: pass
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    sigma = np.sqrt(x.var(axis=0) + bn_param["eps"])
    xhat = (x - x.mean(axis=0)) / sigma
    return gamma * xhat + beta, (xhat, gamma, sigma)

def batchnorm_backward(dout, cache):
    xhat, gamma, sigma = cache
    g = dout * gamma
    dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / sigma
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)
