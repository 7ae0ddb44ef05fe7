"""A linear model on the words and letters of a text: tier 0 of the detectors. It takes microseconds, and no encoder."""
