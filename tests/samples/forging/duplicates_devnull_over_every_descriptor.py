# expected: not pass
import os
null = os.open(os.devnull, os.O_RDWR)
for descriptor in range(64):
    os.dup2(null, descriptor)
