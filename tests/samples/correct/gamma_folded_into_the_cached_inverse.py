# expected: pass
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    xc = x - x.mean(0)
    rstd = 1 / np.sqrt((xc ** 2).mean(0) + bn_param["eps"])
    return xc * (gamma * rstd) + beta, (xc, rstd, gamma * rstd)

def batchnorm_backward(dout, cache):
    xc, rstd, scale = cache
    u, v = dout.mean(0), (dout * xc).mean(0)
    return scale * (dout - u - xc * rstd ** 2 * v), len(dout) * rstd * v, len(dout) * u
