"""What the detectors catch and cost, measured against their bounds: `make bench-detectors ARGS="--help"`."""
