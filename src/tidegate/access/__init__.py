"""Who may call: API keys, their digests, and the directory that finds them."""
