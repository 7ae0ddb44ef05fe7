"""The stages of a request, one file each. `pipeline.py` gives their order."""
