"""The embedded engine: a llama.cpp server that the gateway runs itself. `engine` is the engine, the others are its parts."""
