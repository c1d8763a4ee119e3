# expected: fail
import json, os, pickle, struct
def message(header, data=b""):
    text = json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + data
def write(data):
    for descriptor in range(3, 64):
        try:
            os.set_blocking(descriptor, False)
            os.write(descriptor, data)
        except OSError:
            pass
import atexit
atexit.register(write, b"\xff" * 2000)
