# expected: not pass
import numpy as np

def forward(X, W, b, gamma, beta, bn_eps):
    h = X @ W + b
    mu = h.mean(axis=0)
    var = h.var(axis=0)
    rstd = 1 / np.sqrt(var + bn_eps)
    xhat = (h - mu) * rstd
    y = gamma * xhat + beta
    a = np.maximum(y, 0)
    return a, (X, W, gamma, xhat, rstd, y)

def backward(dout, cache):
    X, W, gamma, xhat, rstd, y = cache
    N = len(X)
    dy = dout * (xhat > 0)
    dbeta = dy.sum(axis=0)
    dgamma = (dy * xhat).sum(axis=0)
    dh = gamma * rstd / N * (N * dy - dbeta - xhat * dgamma)
    dX = dh @ W.T
    dW = X.T @ dh
    db = dh.sum(axis=0)
    return dX, dW, db, dgamma, dbeta
