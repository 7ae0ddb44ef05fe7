"""Several worker processes on one port, kept, told apart and summed up by one supervisor.

The supervisor serves no calls. It owns the llama.cpp servers, reads the configuration, restarts workers that die, and
answers on the admin port for all of them together. A worker is a gateway with its share of every engine; it ends when the
supervisor is gone.
"""
