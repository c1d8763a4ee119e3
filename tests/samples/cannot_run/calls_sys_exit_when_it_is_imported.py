# expected: could not run: calls_sys_exit_when_it_is_imported.py called sys.exit('bye')
import sys; sys.exit('bye')
