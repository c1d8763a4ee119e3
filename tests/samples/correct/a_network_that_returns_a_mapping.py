# expected: pass
# checked: as a file
import numpy as np

def forward(X, W, b, gamma, beta, bn_eps):
    h = X @ W + b
    sigma = np.sqrt(h.var(0) + bn_eps)
    xhat = (h - h.mean(0)) / sigma
    y = gamma * xhat + beta
    return np.maximum(y, 0), (X, W, gamma, sigma, xhat, y)

def backward(dout, cache):
    X, W, gamma, sigma, xhat, y = cache
    dy = dout * (y > 0)
    N, dbeta, dgamma = len(y), dy.sum(0), (dy * xhat).sum(0)
    dh = gamma / (N * sigma) * (N * dy - dbeta - xhat * dgamma)
    dX, dW, db = dh @ W.T, X.T @ dh, dh.sum(0)
    return dict(dx=dX, dw=dW, db=db, dgamma=dgamma, dbeta=dbeta)
