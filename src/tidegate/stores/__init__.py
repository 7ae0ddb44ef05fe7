"""Databases: each one keeps what outlives the process."""
