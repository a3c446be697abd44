"""Search, reranking and embeddings: the use cases that answer a query."""
