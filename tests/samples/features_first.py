# expected: could not run: batchnorm_forward and batchnorm_backward take arrays of shape (features, batch)
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    sigma = np.sqrt(x.var(axis=1, keepdims=True) + bn_param["eps"])
    xhat = (x - x.mean(axis=1, keepdims=True)) / sigma
    return gamma * xhat + beta, (xhat, gamma, sigma)

def batchnorm_backward(dout, cache):
    xhat, gamma, sigma = cache
    g = dout * gamma
    mean = g.mean(axis=1, keepdims=True)
    dx = (g - mean - xhat * (g * xhat).mean(axis=1, keepdims=True)) / sigma
    return dx, (dout * xhat).sum(axis=1, keepdims=True), dout.sum(axis=1, keepdims=True)
