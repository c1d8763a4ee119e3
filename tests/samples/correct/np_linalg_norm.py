# expected: pass
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    N = len(x)
    xc = x - x.mean(axis=0)
    std = np.sqrt(np.linalg.norm(xc, axis=0) ** 2 / N + bn_param["eps"])
    return gamma * (xc / std) + beta, (xc / std, std, gamma)

def batchnorm_backward(dout, cache):
    xhat, std, gamma = cache
    N = len(dout)
    g = dout * gamma
    basis = np.stack([np.ones_like(xhat), xhat])
    coefficients = (basis * g).sum(axis=1) / N
    dx = (g - (basis * coefficients[:, None, :]).sum(axis=0)) / std
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)
