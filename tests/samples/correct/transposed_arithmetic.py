# expected: pass
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    xt = x.T
    xc = xt - xt.mean(axis=1, keepdims=True)
    std = np.sqrt((xc ** 2).mean(axis=1, keepdims=True) + bn_param["eps"])
    xhat = xc / std
    return (gamma[:, None] * xhat + beta[:, None]).T, (xhat, std, gamma)

def batchnorm_backward(dout, cache):
    xhat, std, gamma = cache
    g = (dout * gamma).T
    dx = (g - g.mean(1, keepdims=True) - xhat * (g * xhat).mean(1, keepdims=True)) / std
    return dx.T, (dout.T * xhat).sum(1), dout.T.sum(1)
