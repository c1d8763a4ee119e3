# expected: fail
import atexit, os, sys
atexit.register(lambda: os._exit(0))
