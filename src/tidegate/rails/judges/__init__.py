"""Judges: rails that ask a general model about a text, with instructions that the operator can change."""
