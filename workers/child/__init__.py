"""The process that does one attempt, in the interpreter of the toolchain's environment.

Standard library, numpy and `farm.domain` alone, in the syntax of Python 3.10: TensorRT 8's modules
end there. Started as `PYTHON -m workers.child REQUEST.json RESULT.json`.
"""
