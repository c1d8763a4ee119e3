# expected: pass
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    N = len(x)
    P = np.eye(N) - np.ones((N, N)) / N
    xc = P @ x
    rstd = (np.diag(xc.T @ xc) / N + bn_param["eps"]) ** -0.5
    return xc * rstd * gamma + beta, (P, xc, rstd, gamma)

def batchnorm_backward(dout, cache):
    P, xc, rstd, gamma = cache
    N = len(dout)
    g = dout * gamma * rstd
    dxc = g - xc * rstd ** 2 * (g * xc).sum(axis=0) / N
    return P.T @ dxc, np.diag(dout.T @ (xc * rstd)).copy(), np.ones(N) @ dout
