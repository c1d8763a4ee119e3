# expected: not pass
class Lying(tuple):
    def __len__(self):
        return 3
    def __getitem__(self, key):
        return ()
    def __iter__(self):
        return iter(())

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    dx, dgamma, dbeta = wrong(dout, cache)
    return Lying((dx, dgamma, dbeta))
