"""The shared kernel: pure, typed, and free of frameworks, engines and torch."""
