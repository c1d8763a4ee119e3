# expected: pass
# target: Layers
import numpy as np

class Layers:
    @staticmethod
    def batchnorm_forward(x, gamma, beta, bn_param):
        mu, std = x.mean(0), np.sqrt(x.var(0) + bn_param["eps"])
        return gamma * (x - mu) / std + beta, ((x - mu) / std, gamma / std)

    @staticmethod
    def batchnorm_backward(dout, cache):
        xhat, scale = cache
        dgamma = (dout * xhat).sum(0)
        return scale * (dout - dout.mean(0) - xhat * dgamma / len(dout)), dgamma, dout.sum(0)
