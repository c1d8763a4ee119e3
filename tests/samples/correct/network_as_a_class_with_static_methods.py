# expected: pass
# target: Network
import numpy as np

class Network:
    def __init__(self, size):
        raise NotImplementedError("only a namespace")

    @staticmethod
    def forward(X, W, b, gamma, beta, bn_eps):
        h = X @ W + b
        std = np.sqrt(h.var(0) + bn_eps)
        xhat = (h - h.mean(0)) / std
        y = gamma * xhat + beta
        return np.where(y > 0, y, 0.0), (X, W, gamma, std, xhat, y)

    @staticmethod
    def backward(dout, cache):
        X, W, gamma, std, xhat, y = cache
        dy = (y > 0) * dout
        dgamma = np.sum(dy * xhat, axis=0)
        dh = gamma / std * (dy - dy.mean(0) - xhat * dgamma / len(X))
        return dh @ W.T, X.T @ dh, dh.sum(0), dgamma, dy.sum(0), dh
