"""The APIs that clients use, one module each. A module reads a request body into a Call."""
