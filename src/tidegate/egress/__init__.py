"""Outgoing HTTP. Every HTTP request that the gateway sends to an engine goes through this package."""
