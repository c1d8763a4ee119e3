# expected: pass
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    m = len(x)
    mu = x.mean(axis=0)
    var = ((x - mu) ** 2).mean(axis=0)
    eps = bn_param["eps"]
    return gamma * ((x - mu) / (var + eps) ** 0.5) + beta, (x, mu, var, eps, gamma)

def batchnorm_backward(dout, cache):
    x, mu, var, eps, gamma = cache
    m = len(x)
    dxhat = dout * gamma
    dvar = (dxhat * (x - mu) * -0.5 * (var + eps) ** -1.5).sum(axis=0)
    dmu = (dxhat * -1 / np.sqrt(var + eps)).sum(axis=0) + dvar * (-2 * (x - mu)).sum(axis=0) / m
    dx = dxhat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / m + dmu / m
    return dx, (dout * (x - mu) / np.sqrt(var + eps)).sum(axis=0), dout.sum(axis=0)
