# expected: pass
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    mu = x.mean(axis=0)
    rstd = 1 / np.sqrt(x.var(axis=0) + bn_param["eps"])
    out = gamma * ((x - mu) * rstd) + beta
    return out, (out, rstd, gamma, beta)

def batchnorm_backward(dout, cache):
    out, rstd, gamma, beta = cache
    xhat = (out - beta) / gamma
    dgamma, dbeta = (dout * xhat).sum(axis=0), dout.sum(axis=0)
    return gamma * rstd * (dout - dbeta / len(dout) - xhat * dgamma / len(dout)), dgamma, dbeta
