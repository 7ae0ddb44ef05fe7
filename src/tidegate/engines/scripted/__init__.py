"""The scripted engine: answers by script, with exact timing and chosen faults. `engine` runs in process, `server` alone."""
