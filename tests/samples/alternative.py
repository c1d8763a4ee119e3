# expected: part of a file: append it to layers.py
def batchnorm_backward_alt(dout, cache):
    x, xhat, mu, var, eps, std, gamma = cache
    N = len(x)
    dgamma, dbeta = np.sum(dout * xhat, axis=0), np.sum(dout, axis=0)
    dx = gamma / (N * std) * (N * dout - dbeta - xhat * dgamma)
    return dx, dgamma, dbeta
