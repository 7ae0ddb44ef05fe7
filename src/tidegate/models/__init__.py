"""Small models that run in this process."""
