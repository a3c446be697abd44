"""The Isoglot service: multilingual search with calibrated probabilities."""
