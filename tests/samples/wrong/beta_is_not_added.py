# expected: not pass
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    N = x.shape[0]
    eps = bn_param["eps"]
    mu = x.sum(axis=0) / N
    xc = x - mu
    var = (xc * xc).sum(axis=0) / N
    rstd = 1 / np.sqrt(var + eps)
    xhat = xc * rstd
    out = gamma * xhat
    return out, (xhat, rstd, gamma, var, eps)

def batchnorm_backward(dout, cache):
    xhat, rstd, gamma, var, eps = cache
    N = dout.shape[0]
    dbeta = dout.sum(axis=0)
    dgamma = (dout * xhat).sum(axis=0)
    g = dout * gamma
    direct = g
    mean = g.sum(axis=0) / N
    variance = xhat * (g * xhat).sum(axis=0) / N
    dx = rstd * (direct - mean - variance)
    return dx, dgamma, dbeta
