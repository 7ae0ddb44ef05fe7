"""Several worker processes on one port, under one supervisor.

The supervisor serves no calls. It owns the llama.cpp servers, reads the configuration, restarts workers that die, and
answers on the admin port for all workers together. A worker is a gateway with its share of every engine's limits. A worker
ends when the supervisor has ended.
"""
