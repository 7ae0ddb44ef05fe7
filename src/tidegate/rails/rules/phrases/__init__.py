"""The phrases of prompt injections and jailbreaks: a grammar, and a table for each language."""
