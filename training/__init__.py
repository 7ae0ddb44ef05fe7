"""Trains the small models that Tidegate ships. Nothing here runs in the gateway; see README.md."""
