"""Moving a collection to another encoder while it is searched and written to."""
