"""Client connections, from bytes to requests and back: all that happens before the caller is known."""
