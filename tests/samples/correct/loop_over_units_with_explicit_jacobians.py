# expected: pass
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    N, H = x.shape
    xhat = np.zeros_like(x)
    std = np.zeros(H)
    for j in range(H):
        column = x[:, j] - x[:, j].mean()
        std[j] = np.sqrt(column @ column / N + bn_param["eps"])
        xhat[:, j] = column / std[j]
    return xhat * gamma + beta, (xhat, std, gamma)

def batchnorm_backward(dout, cache):
    xhat, std, gamma = cache
    N, H = dout.shape
    dx = np.zeros_like(dout)
    for j in range(H):
        jacobian = (np.eye(N) - 1 / N - np.outer(xhat[:, j], xhat[:, j]) / N) / std[j]
        dx[:, j] = gamma[j] * jacobian @ dout[:, j]
    return dx, np.array([dout[:, j] @ xhat[:, j] for j in range(H)]), np.array([dout[:, j].sum() for j in range(H)])
