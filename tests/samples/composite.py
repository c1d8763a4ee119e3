# expected: part of a file: append it to layers.py
def affine_bn_relu_forward(x, w, b, gamma, beta, bn_param):
    h, fc = affine_forward(x, w, b)
    y, bn = batchnorm_forward(h, gamma, beta, bn_param)
    out, relu = relu_forward(y)
    return out, (fc, bn, relu)

def affine_bn_relu_backward(dout, cache):
    fc, bn, relu = cache
    dh, dgamma, dbeta = batchnorm_backward(relu_backward(dout, relu), bn)
    dx, dw, db = affine_backward(dh, fc)
    return dx, dw, db, dgamma, dbeta
