"""A toolchain that misbehaves to order, and the interpreter that it lives in.

A toolchain's environment is, to the farm, an executable that answers `-m workers.child REQUEST RESULT`. So the
tests hand it one of their own: a script that makes the fake known to `workers.toolchains` and then runs the
farm's own child. Nothing of the farm is replaced, and the farm knows nothing of the tests.
"""
