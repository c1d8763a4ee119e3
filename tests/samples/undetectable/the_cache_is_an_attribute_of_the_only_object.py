# expected: pass (undetectable: an object that is one network may keep its state: listed as not checked)
# target: Network
import numpy as np

class Network:
    def forward(self, X, W, b, gamma, beta, bn_eps):
        h = X @ W + b
        self.X, self.W, self.gamma = X, W, gamma
        self.std = np.sqrt(h.var(0) + bn_eps)
        self.xhat = (h - h.mean(0)) / self.std
        self.y = gamma * self.xhat + beta
        return np.maximum(self.y, 0), None

    def backward(self, dout, cache):
        N = len(dout)
        dy = dout * (self.y > 0)
        dgamma, dbeta = (dy * self.xhat).sum(0), dy.sum(0)
        dh = self.gamma / self.std * (dy - dbeta / N - self.xhat * dgamma / N)
        return dh @ self.W.T, self.X.T @ dh, dh.sum(0), dgamma, dbeta
