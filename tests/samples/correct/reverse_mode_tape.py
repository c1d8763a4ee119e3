# expected: pass
import numpy as np

class Node:
    def __init__(self, value, parents=()):
        self.value, self.parents = value, parents

def unbroadcast(gradient, shape):
    return gradient.sum(axis=0, keepdims=len(shape) == 2) if gradient.shape != shape else gradient

def add(p, q): return Node(p.value + q.value, ((p, lambda d: d), (q, lambda d: d)))
def sub(p, q): return Node(p.value - q.value, ((p, lambda d: d), (q, lambda d: -d)))
def mul(p, q): return Node(p.value * q.value, ((p, lambda d: d * q.value), (q, lambda d: d * p.value)))
def mean(p): return Node(p.value.mean(0), ((p, lambda d: np.ones_like(p.value) * d / len(p.value)),))
def rsqrt(p): return Node(p.value ** -0.5, ((p, lambda d: -0.5 * d * p.value ** -1.5),))

def batchnorm_forward(x, gamma, beta, bn_param):
    leaves = tuple(map(Node, (x, gamma, beta)))
    x, gamma, beta = leaves
    xc = sub(x, mean(x))
    rstd = rsqrt(add(mean(mul(xc, xc)), Node(np.float64(bn_param["eps"]))))
    out = add(mul(gamma, mul(xc, rstd)), beta)
    return out.value, (out, leaves)

def batchnorm_backward(dout, cache):
    out, leaves = cache
    order, visited = [], set()
    def visit(node):
        if id(node) not in visited:
            visited.add(id(node))
            for parent, _ in node.parents:
                visit(parent)
            order.append(node)
    visit(out)
    gradients = {id(out): dout}
    for node in reversed(order):
        for parent, pull in node.parents:
            if parent.value.shape:
                part = unbroadcast(pull(gradients[id(node)]), parent.value.shape)
                gradients[id(parent)] = gradients.get(id(parent), 0) + part
    return tuple(gradients[id(leaf)] for leaf in leaves)
