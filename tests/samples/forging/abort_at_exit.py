# expected: fail
import atexit, os, sys
atexit.register(lambda: os.abort())
