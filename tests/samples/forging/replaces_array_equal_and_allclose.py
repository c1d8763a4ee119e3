# expected: fail
import numpy
numpy.array_equal = numpy.allclose = numpy.isclose = lambda *_, **__: True
numpy.testing.assert_allclose = lambda *_, **__: None
