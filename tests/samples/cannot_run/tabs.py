# expected: could not run: tabs.py mixes tabs and spaces (line 4)
if True:
        x = 1
	y = 2
