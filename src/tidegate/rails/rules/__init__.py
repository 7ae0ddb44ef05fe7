"""The rails that are rules: each takes microseconds and needs no model. One file for each kind."""
