"""The server store: a Qdrant server or cluster behind the same port."""
