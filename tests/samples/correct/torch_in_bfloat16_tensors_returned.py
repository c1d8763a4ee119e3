# expected: inconclusive (values of 16 bits are not judged)
# requires: torch
# precision: 0.1
import numpy as np
import torch

def to_tensor(array):
    return torch.tensor(array, dtype=torch.bfloat16)

def to_result(tensor):
    return tensor

@torch.no_grad()
def batchnorm_forward(x, gamma, beta, bn_param):
    x, gamma, beta = map(to_tensor, (x, gamma, beta))
    mu = x.mean(dim=0)
    var = x.var(dim=0, unbiased=False)
    rstd = torch.rsqrt(var + bn_param["eps"])
    xhat = (x - mu) * rstd
    return to_result(gamma * xhat + beta), (xhat, rstd, gamma)

@torch.no_grad()
def batchnorm_backward(dout, cache):
    xhat, rstd, gamma = cache
    dout = to_tensor(dout)
    g = dout * gamma
    dx = rstd * (g - g.mean(dim=0) - xhat * (g * xhat).mean(dim=0))
    return to_result(dx), to_result((dout * xhat).sum(dim=0)), to_result(dout.sum(dim=0))
