# expected: could not run: wrote to a file descriptor that it did not open and that bncheck uses for its results
import json
json.dumps = lambda *_, **__: '{"id": 0, "arrays": [], "modifications": [], "verdict": "pass"}'
