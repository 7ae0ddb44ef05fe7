"""People who decide about texts: the cases, who waits for them, and who is told of them."""
