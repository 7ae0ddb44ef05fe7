"""Guard models: models that were trained to tell whether a text is safe, one file each, over any engine."""
