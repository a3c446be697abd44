"""Offline half: from question-passage data to a bundle."""
