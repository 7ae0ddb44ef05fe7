"""Tidegate: an LLM gateway that keeps applications fast under load and every request and reply safe."""
