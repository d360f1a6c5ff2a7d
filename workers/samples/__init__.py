"""Samples for calibration and verification, made where they are submitted: images and arrays to one `.npz`.

The file's bytes follow from the samples and the preprocessing alone, so that the engine's key does.
"""
