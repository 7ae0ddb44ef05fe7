"""Writes texts of our own for training: attacks, and harmless texts that look like them."""
