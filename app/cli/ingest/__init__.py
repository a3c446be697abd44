"""Reading files of passages and storing them, here or on a Ray cluster."""
