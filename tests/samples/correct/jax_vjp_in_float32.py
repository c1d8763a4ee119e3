# expected: pass
# requires: jax
# precision: 1e-05
import jax
import jax.numpy as jnp
import numpy as np

def normalize(x, gamma, beta, eps):
    mu = x.mean(axis=0)
    var = ((x - mu) ** 2).mean(axis=0)
    return gamma * (x - mu) / jnp.sqrt(var + eps) + beta

@jax.jit
def pullback(x, gamma, beta, eps, dout):
    return jax.vjp(lambda *v: normalize(*v, eps), x, gamma, beta)[1](dout)

jitted = jax.jit(normalize)

def batchnorm_forward(x, gamma, beta, bn_param):
    with jax.enable_x64(False):
        cache = tuple(map(jnp.asarray, (x, gamma, beta))) + (bn_param["eps"],)
        return np.asarray(jitted(*cache)), cache

def batchnorm_backward(dout, cache):
    with jax.enable_x64(False):
        return tuple(np.asarray(v) for v in pullback(*cache, jnp.asarray(dout)))
