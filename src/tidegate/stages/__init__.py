"""The steps of a request's way, one file each; `pipeline.py` says in which order."""
