"""`tidegate eval`, and `tidegate rails calibrate`, which counts in the same way."""
