# expected: not pass
class Lying(dict):
    def __len__(self):
        return 0
    def items(self):
        return [("pass", True)]

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    dx, dgamma, dbeta = wrong(dout, cache)
    return Lying(dx=dx, dgamma=dgamma, dbeta=dbeta)
