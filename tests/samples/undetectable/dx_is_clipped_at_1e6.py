# expected: pass (undetectable: no gradient of the default check is as large)
# fails with: N=7 D=5 H=4 x_std=1e-08 bn_eps=1e-16
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    N = x.shape[0]
    eps = bn_param["eps"]
    mu = x.sum(axis=0) / N
    xc = x - mu
    var = (xc * xc).sum(axis=0) / N
    rstd = 1 / np.sqrt(var + eps)
    xhat = xc * rstd
    out = gamma * xhat + beta
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
    dx = np.clip(dx, -1e6, 1e6)
    return dx, dgamma, dbeta
