# expected: fail
import atexit, os, sys
atexit.register(lambda: sys.exit(0))
