# expected: could not run: the import did not return within 0.5 s
import time; time.sleep(99)
