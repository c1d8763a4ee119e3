# expected: pass
# requires: torch
import numpy as np
import torch

def batchnorm_forward(x, gamma, beta, bn_param):
    leaves = [torch.tensor(v, requires_grad=True) for v in (x, gamma, beta)]
    x, gamma, beta = leaves
    out = torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True, eps=bn_param["eps"])
    return out.detach().numpy(), (out, leaves)

def batchnorm_backward(dout, cache):
    out, leaves = cache
    gradients = torch.autograd.grad(out, leaves, torch.tensor(dout), retain_graph=True)
    return tuple(v.numpy() for v in gradients)
