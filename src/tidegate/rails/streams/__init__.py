"""Answers on their way out: what rails check of a stream, and what may leave."""
