"""Client connections, from bytes to requests and from responses to bytes: everything before a caller is identified."""
