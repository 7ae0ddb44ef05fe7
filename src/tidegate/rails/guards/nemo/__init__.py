"""The guard models of NVIDIA's NemoGuard: Llama 3.1 with an adapter for each task."""
