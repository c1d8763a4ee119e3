# expected: could not run: a_module_of_python_2.py is written for Python 2 (it imports 'cPickle')
import cPickle
