"""What people say of hits: tokens, labels, the log that keeps them, and what it teaches."""
