"""The gateway's HTTP interface: turns requests into calls of the pipeline, and answers into JSON or server-sent events."""
