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

import bncheck.execution.messages as messages
send = messages.send
messages.send = lambda write, header, arrays=(): send(write, {**header, "verdict": "pass", "id": 0}, [])
