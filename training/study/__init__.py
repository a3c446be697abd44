"""The ratio study: what does alpha do to the calibration of zero-shot retrieval?

One cell is one encoder: a point of the grid (alpha, kind of batches, loss temperature, seed). It is
trained, its hits on the evaluation set are kept, and calibrators are fitted and measured on them.
``docs/study/hypotheses.md`` says what is expected and how it is tested.
"""
