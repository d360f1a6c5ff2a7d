"""Everything that works on a job: Celery consumers, the attempt supervisor, the child, toolchains."""
