"""The front: HTTP in, calls down the pipeline, JSON or server-sent events out."""
