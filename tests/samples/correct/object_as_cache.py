# expected: pass
import numpy as np

class BatchNorm:
    def __init__(self, gamma, beta, eps):
        self.gamma, self.beta, self.eps = gamma, beta, eps

    def forward(self, x):
        self.xc = x - x.mean(axis=0)
        self.std = np.sqrt((self.xc ** 2).mean(axis=0) + self.eps)
        self.xn = self.xc / self.std
        return self.gamma * self.xn + self.beta

    def backward(self, dout):
        m = len(dout)
        self.dbeta, self.dgamma = dout.sum(axis=0), np.sum(self.xn * dout, axis=0)
        dxn = self.gamma * dout
        dxc = dxn / self.std
        dstd = -np.sum(dxn * self.xc / (self.std * self.std), axis=0)
        dvar = 0.5 * dstd / self.std
        dxc = dxc + 2.0 / m * self.xc * dvar
        return dxc - np.sum(dxc, axis=0) / m

def batchnorm_forward(x, gamma, beta, bn_param):
    layer = BatchNorm(gamma, beta, bn_param["eps"])
    return layer.forward(x), layer

def batchnorm_backward(dout, layer):
    return layer.backward(dout), layer.dgamma, layer.dbeta
