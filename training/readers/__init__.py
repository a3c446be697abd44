"""Readers of the forms in which retrieval data are published.

========================  =========================================================  ============
form                      what is there                                              module
========================  =========================================================  ============
``jsonl``                 JSON lines in the schemas of ``training.data``             ``files``
``tsv``                   columns by tabs, named by the first line                   ``tables``
``parquet``               one file, or a directory of them                           ``tables``
``huggingface``           id of a dataset, or what ``save_to_disk`` wrote            ``tables``
``squad``                 SQuAD-form JSON, versions 1.1 and 2; XQuAD, MLQA           ``squad``
``lareqa``                XQuAD-R and MLQA-R as published                            ``lareqa``
``isoglot``               our own retrieval sets                                     ``own``
``beir``                  BEIR folders                                               ``beir``
``miracl``                topics, judgements and corpora of MIRACL                   ``miracl``
``mr-tydi``, ``trec``     TREC topics and judgements with a corpus; Mr. TyDi         ``trec``
``mmarco``                queries, collections, judgements or triples by tabs        ``mmarco``
========================  =========================================================  ============

For evaluation ``recognise.read_retrieval_set`` finds out which form (from ``squad`` on) a path
has; for training a source names its ``form``, and ``pairs`` yields its rows. Whatever the form,
what must hold of texts, languages, ids and judgements is checked in ``checks`` and ``judged``, and
every error names file and line. TREC runs are read by ``records.read_run``.
"""
