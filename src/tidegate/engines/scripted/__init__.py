"""The scripted engine: answers by script, with exact timing and chosen faults. In process (`engine`) or as a server (`server`)."""
