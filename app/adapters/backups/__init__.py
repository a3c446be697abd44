"""A deployment in one file: copied at rest, archived, and put in place again."""
