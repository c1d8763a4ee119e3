# expected: could not run: python_2.py is written for Python 2 (line 2: 
print 'hello'
