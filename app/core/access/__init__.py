"""Who may do what, how fast, and on whose passages."""
