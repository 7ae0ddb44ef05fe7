"""Faults between gateways and engines: a proxy that breaks answers, a nemesis, a history of all calls, and its checkers."""
