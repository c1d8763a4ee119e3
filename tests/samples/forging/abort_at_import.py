# expected: could not run: was terminated by SIGABRT
import os, sys
os.abort()
