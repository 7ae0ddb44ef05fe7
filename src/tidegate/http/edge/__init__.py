"""One client connection, from its bytes to a request and back: everything that happens before anybody is a caller."""
