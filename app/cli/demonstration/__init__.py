"""The demo corpus: serving it, and what its questions measure."""
