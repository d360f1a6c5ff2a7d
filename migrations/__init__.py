"""Alembic migrations of the farm's tables."""
