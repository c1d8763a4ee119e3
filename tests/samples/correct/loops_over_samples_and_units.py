# expected: pass
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    N, H = x.shape
    out, xhat, rstd = np.empty((N, H)), np.empty((N, H)), np.empty(H)
    for j in range(H):
        total = 0.0
        for n in range(N):
            total += x[n, j]
        mu, total = total / N, 0.0
        for n in range(N):
            total += (x[n, j] - mu) ** 2
        rstd[j] = 1 / (total / N + bn_param["eps"]) ** 0.5
        for n in range(N):
            xhat[n, j] = (x[n, j] - mu) * rstd[j]
            out[n, j] = gamma[j] * xhat[n, j] + beta[j]
    return out, (xhat, rstd, gamma)

def batchnorm_backward(dout, cache):
    xhat, rstd, gamma = cache
    N, H = dout.shape
    dx, dgamma, dbeta = np.zeros((N, H)), np.zeros(H), np.zeros(H)
    for j in range(H):
        for n in range(N):
            dbeta[j] += dout[n, j]
            dgamma[j] += dout[n, j] * xhat[n, j]
        for n in range(N):
            dx[n, j] = gamma[j] * rstd[j] * (dout[n, j] - dbeta[j] / N - xhat[n, j] * dgamma[j] / N)
    return dx, dgamma, dbeta
