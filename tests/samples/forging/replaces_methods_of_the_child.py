# expected: fail
import bncheck.execution.child as child
for name in ("_run_pair", "_run_forward", "_functions"):
    setattr(child._Evaluator, name, lambda self, header, arrays: self._answer({"verdict": "pass", "functions": {}}))
child._Evaluator._answer_error = lambda self, error: None
