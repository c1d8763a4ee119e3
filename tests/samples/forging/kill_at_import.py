# expected: could not run: was terminated by SIGKILL
import os, sys
os.kill(os.getpid(), 9)
