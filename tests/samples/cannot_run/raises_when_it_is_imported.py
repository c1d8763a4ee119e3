# expected: could not run: raises_when_it_is_imported.py raised ZeroDivisionError: division by zero
# and then: line 3
x = 1 / 0
