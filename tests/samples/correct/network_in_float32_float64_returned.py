# expected: pass
# precision: 1e-05
import numpy as np

def forward(X, W, b, gamma, beta, bn_eps):
    X, W, b, gamma, beta = (v.astype(np.float32) for v in (X, W, b, gamma, beta))
    h = X @ W + b
    mu = h.mean(axis=0)
    var = h.var(axis=0)
    rstd = 1 / np.sqrt(var + np.float32(bn_eps))
    xhat = (h - mu) * rstd
    y = gamma * xhat + beta
    a = np.maximum(y, 0)
    return a.astype(np.float64), (X, W, gamma, xhat, rstd, y)

def backward(dout, cache):
    X, W, gamma, xhat, rstd, y = cache
    N = len(X)
    dy = dout.astype(np.float32) * (y > 0)
    dbeta = dy.sum(axis=0)
    dgamma = (dy * xhat).sum(axis=0)
    dh = gamma * rstd / N * (N * dy - dbeta - xhat * dgamma)
    dX = dh @ W.T
    dW = X.T @ dh
    db = dh.sum(axis=0)
    return tuple(v.astype(np.float64) for v in (dX, dW, db, dgamma, dbeta))
