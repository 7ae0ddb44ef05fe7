"""Rails that judge how something is said: promises, advice, insults, and the language."""
