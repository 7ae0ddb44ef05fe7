"""The characters that hide a text or look like others, and their legitimate uses."""
