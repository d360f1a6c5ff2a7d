"""Ordeal by fire: a fleet of real processes, seeded faults, and a checker over SQL, store and the clients' notes."""
