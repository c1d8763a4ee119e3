# expected: not pass
from collections.abc import Mapping
class Many(Mapping):
    def __len__(self):
        return 10**6
    def __iter__(self):
        return map(str, range(10**6))
    def __getitem__(self, key):
        return key

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    dx, dgamma, dbeta = wrong(dout, cache)
    return Many()
