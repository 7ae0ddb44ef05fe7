"""Rails that ask the detector: a small model of Tidegate's own in this process, which all of them share."""
