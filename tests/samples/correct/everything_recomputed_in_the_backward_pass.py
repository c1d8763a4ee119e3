# expected: pass
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    xhat, _ = normalized(x, bn_param["eps"])
    return xhat * gamma + beta, (x, gamma, bn_param["eps"])

def normalized(x, eps):
    std = (x.var(axis=0) + eps) ** 0.5
    return (x - x.mean(axis=0)) / std, std

def batchnorm_backward(dout, cache):
    x, gamma, eps = cache
    xhat, std = normalized(x, eps)
    dgamma = (dout * xhat).sum(axis=0)
    return (dout - dout.mean(0) - xhat * dgamma / len(x)) * gamma / std, dgamma, dout.sum(0)
