"""The embedded engine, a llama.cpp server that the gateway runs itself. The class is in the module `engine`."""
