"""Language codes, preferences, and language bias."""
