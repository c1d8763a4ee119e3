# expected: fail
import sys
import bncheck.checking.judge, bncheck.checking.check, bncheck.checking.run_check, bncheck.checking.pair_check
from bncheck.model.verdict import Verdict
for name, module in list(sys.modules.items()):
    if name.startswith("bncheck.checking"):
        for key, value in list(vars(module).items()):
            if callable(value) and getattr(value, "__module__", "").startswith("bncheck.checking"):
                setattr(module, key, lambda *arguments, **named: Verdict.PASS)
