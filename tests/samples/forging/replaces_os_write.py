# expected: not pass
import os
write = os.write
os.write = lambda descriptor, data: write(descriptor, data) and len(bytes(data).replace(b"error", b"right"))
