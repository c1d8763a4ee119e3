# expected: could not run: does_not_parse.py, line 2: syntax error: 
def forward(:
