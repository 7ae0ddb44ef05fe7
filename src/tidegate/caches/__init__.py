"""Answers that are used more than once."""
