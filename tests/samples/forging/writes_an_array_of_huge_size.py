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

wrong = batchnorm_backward
def batchnorm_backward(dout, cache):
    write(b"".join(message({"id": n, "arrays": [["<f8", [2**40, 2**20], False]], "modifications": []}) for n in range(100)))
    return wrong(dout, cache)
