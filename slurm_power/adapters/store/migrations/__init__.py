"""Alembic's home: env.py says how a migration runs, versions/ holds them."""
