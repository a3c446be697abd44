"""Passages: what callers hand in, the fields that filters read, and how they are stored."""
