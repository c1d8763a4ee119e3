# expected: could not run: wrote to a file descriptor that it did not open and that bncheck uses for its results
import os
write = os.write
os.write = lambda descriptor, data: (write(descriptor, data), write(descriptor, data))[0]
