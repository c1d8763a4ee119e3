# expected: fail
import os
os.utime(__file__, (0, 0))
os.environ.clear()
os.environ["PYTHONPATH"] = "/"
