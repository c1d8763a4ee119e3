# expected: pass
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    eps = bn_param.get("eps", 1e-5)
    mean, var = np.mean(x, axis=0), np.var(x, axis=0)
    std = np.sqrt(var + eps)
    x_norm = (x - mean) / std
    return gamma * x_norm + beta, (x, x_norm, mean, std, gamma)

def batchnorm_backward(dout, cache):
    x, x_norm, mean, std, gamma = cache
    N = x.shape[0]
    dx_norm = dout * gamma
    dstd = np.sum(dx_norm * (x - mean) * -std ** -2, axis=0)
    dvar = dstd / (2 * std)
    dmean = np.sum(dx_norm * -1 / std, axis=0) - 2 * dvar * np.mean(x - mean, axis=0)
    dx = dx_norm / std + 2 * dvar * (x - mean) / N + dmean / N
    return dx, np.sum(dout * x_norm, axis=0), np.sum(dout, axis=0)
