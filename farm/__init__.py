"""What an engine is, how it is asked for, and where it is kept: no Celery, no GPU, no click."""

#: Also that of the package; here, so that a source tree that was never installed knows it too.
__version__ = "0.2.0"
