"""Pure algorithms: no await, no I/O, time passed in."""
