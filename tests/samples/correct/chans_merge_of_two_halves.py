# expected: pass
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    N = x.shape[0]
    eps = bn_param["eps"]

    def moments(rows):
        if len(rows) == 1:
            return 1, rows[0], np.zeros_like(rows[0])
        na, ma, sa = moments(rows[: len(rows) // 2])
        nb, mb, sb = moments(rows[len(rows) // 2 :])
        delta = mb - ma
        return na + nb, ma + delta * nb / (na + nb), sa + sb + delta ** 2 * na * nb / (na + nb)

    _, mu, m2 = moments(x)
    xc = x - mu
    var = m2 / N
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
    return dx, dgamma, dbeta
