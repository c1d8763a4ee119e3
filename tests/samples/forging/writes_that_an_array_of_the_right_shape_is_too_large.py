# expected: not pass
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
    write(b"".join(message({"id": n, "arrays": [], "modifications": [], "outputs": 1, "output": {"dtype": "", "error": "", "unreadable": ["float64", [8, 4], True]}, "backward": None, "not_implemented": ""}, b"") for n in range(100)))
    return wrong(dout, cache)
