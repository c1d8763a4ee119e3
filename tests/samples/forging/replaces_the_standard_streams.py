# expected: fail
import io, sys
sys.stdout = sys.stderr = sys.stdin = sys.__stdout__ = io.StringIO()
