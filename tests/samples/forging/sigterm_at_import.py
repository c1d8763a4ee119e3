# expected: could not run: was terminated by SIGTERM
import os, sys
os.kill(os.getpid(), 15)
