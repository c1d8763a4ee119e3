# expected: pass
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    N = len(x)
    xc = x - np.einsum("nd->d", x) / N
    rstd = 1.0 / np.sqrt(np.einsum("nd,nd->d", xc, xc) / N + bn_param["eps"])
    xhat = np.einsum("nd,d->nd", xc, rstd)
    return np.einsum("nd,d->nd", xhat, gamma) + beta, (xhat, rstd, gamma)

def batchnorm_backward(dout, cache):
    xhat, rstd, gamma = cache
    N = len(dout)
    dgamma = np.einsum("nd,nd->d", dout, xhat)
    dbeta = np.einsum("nd->d", dout)
    dx = np.einsum("d,nd->nd", gamma * rstd / N, N * dout - dbeta - np.einsum("nd,d->nd", xhat, dgamma))
    return dx, dgamma, dbeta
