# expected: pass
# precision: 1e-05
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    x, gamma, beta = (v.astype(np.float32) for v in (x, gamma, beta))
    N = x.shape[0]
    eps = np.float32(bn_param["eps"])
    mu = x.sum(axis=0) / N
    xc = x - mu
    var = (xc * xc).sum(axis=0) / N
    rstd = 1 / np.sqrt(var + eps)
    xhat = xc * rstd
    out = gamma * xhat + beta
    return out.astype(np.float64), (xhat, rstd, gamma, var, eps)

def batchnorm_backward(dout, cache):
    xhat, rstd, gamma, var, eps = cache
    dout = dout.astype(np.float32)
    N = np.float32(dout.shape[0])
    dbeta = dout.sum(axis=0)
    dgamma = (dout * xhat).sum(axis=0)
    g = dout * gamma
    direct = g
    mean = g.sum(axis=0) / N
    variance = xhat * (g * xhat).sum(axis=0) / N
    dx = rstd * (direct - mean - variance)
    return tuple(v.astype(np.float64) for v in (dx, dgamma, dbeta))
