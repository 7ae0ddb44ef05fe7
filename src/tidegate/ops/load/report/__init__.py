"""Shows results: `page` makes the report, and `compare` compares two results. The other modules serve these two."""
