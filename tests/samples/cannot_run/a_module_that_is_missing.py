# expected: could not run: a_module_that_is_missing.py imports 'no_such_thing', which is neither installed (pip install no_such_thing) nor in the same directory
import no_such_thing
