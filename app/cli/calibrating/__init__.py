"""Judging one's own corpus, and fitting, looking at and promoting calibrators."""
