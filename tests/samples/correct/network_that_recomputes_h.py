# expected: pass
import numpy as np

def statistics(X, W, b, bn_eps):
    h = np.matmul(X, W) + b[np.newaxis, :]
    centered = h - np.mean(h, axis=0, keepdims=True)
    sigma = np.sqrt(np.mean(centered * centered, axis=0, keepdims=True) + bn_eps)
    return centered / sigma, sigma

def forward(X, W, b, gamma, beta, bn_eps):
    xhat, _ = statistics(X, W, b, bn_eps)
    return np.clip(gamma * xhat + beta, 0, None), [X, W, b, gamma, beta, bn_eps]

def backward(dout, cache):
    X, W, b, gamma, beta, bn_eps = cache
    xhat, sigma = statistics(X, W, b, bn_eps)
    dy = np.where(gamma * xhat + beta > 0, dout, 0.0)
    g = dy * gamma / sigma
    dh = g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)
    return dh.dot(W.T), np.dot(X.T, dh), dh.sum(0), (dy * xhat).sum(0), dy.sum(0)
