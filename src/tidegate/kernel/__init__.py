"""Pure algorithms, without await and I/O. The time is an argument."""
