"""The rails that are rules: pure functions that take microseconds. One file for each kind."""
