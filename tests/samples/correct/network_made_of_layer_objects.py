# expected: pass
# target: Network
import numpy as np

class Affine:
    def __init__(self, W, b): self.W, self.b = W, b
    def forward(self, X): self.X = X; return X @ self.W + self.b
    def backward(self, d): self.dW, self.db = self.X.T @ d, d.sum(0); return d @ self.W.T

class Normalize:
    def __init__(self, eps): self.eps = eps
    def forward(self, h):
        self.std = np.sqrt(h.var(0) + self.eps)
        self.xhat = (h - h.mean(0)) / self.std
        return self.xhat
    def backward(self, d): return (d - d.mean(0) - self.xhat * (d * self.xhat).mean(0)) / self.std

class Scale:
    def __init__(self, gamma, beta): self.gamma, self.beta = gamma, beta
    def forward(self, z): self.z = z; return self.gamma * z + self.beta
    def backward(self, d): self.dgamma, self.dbeta = (d * self.z).sum(0), d.sum(0); return d * self.gamma

class ReLU:
    def forward(self, y): self.on = y > 0; return y * self.on
    def backward(self, d): return d * self.on

class Network:
    def forward(self, X, W, b, gamma, beta, bn_eps):
        layers = [Affine(W, b), Normalize(bn_eps), Scale(gamma, beta), ReLU()]
        for layer in layers:
            X = layer.forward(X)
        return X, layers

    def backward(self, dout, layers):
        for layer in reversed(layers):
            dout = layer.backward(dout)
        affine, _, scale, _ = layers
        return dout, affine.dW, affine.db, scale.dgamma, scale.dbeta
