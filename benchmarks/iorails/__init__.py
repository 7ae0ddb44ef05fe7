"""Compares guard models behind Tidegate with the same ones behind NeMo Guardrails (IORails), in turn on one machine."""
