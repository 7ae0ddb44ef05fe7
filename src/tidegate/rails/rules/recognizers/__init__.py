"""Recognizers of personal data and of secrets, as data: a pattern, a judgement of its matches, words that support it."""
