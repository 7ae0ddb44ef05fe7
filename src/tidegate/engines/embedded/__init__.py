"""The embedded engine: a llama.cpp server that the gateway runs itself. `engine` is the engine."""
