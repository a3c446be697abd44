"""The durable log of feedback and the key that signs its tokens."""
