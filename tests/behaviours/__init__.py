"""What every implementation of a port must do, as classes of tests.

A test module subclasses such a class, names it `Test…` and gives the fixtures that the class's text
asks for; the tests then run against that implementation. The classes use nothing but the port, so
they need no clock of their own: what is over is given a lease of less than nothing.
"""
