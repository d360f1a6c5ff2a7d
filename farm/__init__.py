"""What an engine is, how it is asked for, and where it is kept: no Celery, no GPU, no click."""
