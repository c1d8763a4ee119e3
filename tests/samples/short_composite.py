# expected: part of a file: append it to affine.py and batchnorm.py
def affine_bn_relu_forward(x, w, b, gamma, beta, bn_param):
    h, fc = affine_forward(x, w, b)
    y, bn = batchnorm_forward(h, gamma, beta, bn_param)
    return np.maximum(y, 0), (fc, bn, y)

def affine_bn_relu_backward(dout, cache):
    fc, bn, y = cache
    dh, dgamma, dbeta = batchnorm_backward(dout * (y > 0), bn)
    return (*affine_backward(dh, fc), dgamma, dbeta)
