# expected: pass
import numpy as np

def total(values):
    return np.ones(len(values)) @ values


import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    N = x.shape[0]
    eps = bn_param["eps"]
    mu = total(x) / N
    xc = x - mu
    var = total(xc * xc) / N
    rstd = 1 / np.sqrt(var + eps)
    xhat = xc * rstd
    out = gamma * xhat + beta
    return out, (xhat, rstd, gamma, var, eps)

def batchnorm_backward(dout, cache):
    xhat, rstd, gamma, var, eps = cache
    N = dout.shape[0]
    dbeta = total(dout)
    dgamma = total(dout * xhat)
    g = dout * gamma
    direct = g
    mean = total(g) / N
    variance = xhat * total(g * xhat) / N
    dx = rstd * (direct - mean - variance)
    return dx, dgamma, dbeta
