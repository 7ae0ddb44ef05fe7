"""Rails against what must not get out: system prompts, protected texts, and links that carry data away."""
