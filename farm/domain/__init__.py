"""Plain values and rules, on the standard library and numpy alone.

The child process imports this package under Python 3.10, so it keeps to that syntax.
"""
