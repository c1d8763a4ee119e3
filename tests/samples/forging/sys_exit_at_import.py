# expected: could not run: called sys.exit(0)
import os, sys
sys.exit(0)
