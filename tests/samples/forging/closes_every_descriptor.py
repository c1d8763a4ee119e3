# expected: could not run: closed a file descriptor that it did not open
import os
os.closerange(0, 256)
