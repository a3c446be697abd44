"""The embedded store: Qdrant Edge in this process, and its builder in a child."""
