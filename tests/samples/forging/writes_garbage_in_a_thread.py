# expected: could not run: wrote to a file descriptor that it did not open and that bncheck uses for its results
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
import threading
threading.Thread(target=lambda: [write(b"\xff" * 2000) for _ in range(1000)]).start()
import time
time.sleep(0.1)
