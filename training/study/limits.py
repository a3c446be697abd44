"""What the design cannot show; stands at the end of every report."""

LIMITS = """## What this cannot show

- **One kind of encoder.** Static tables: a text is the mean of its subwords. Nothing here says
  that a transformer behaves the same; the pilot that suggested H1 was of this kind too.
- **One evaluation corpus.** XQuAD-R: translated questions that were written while looking at the
  paragraph, eleven languages, one right sentence in each. Neighbouring sentences that also answer
  count as wrong, so observed rates are lower bounds, in every cell alike.
- **Headings, not questions.** All cross-lingual training pairs are headings of technical documents
  with the text below them. In the study `mixed` the monolingual ones mostly are not: there alpha
  also changes domain and register, and only the study `course` separates the two.
- **A short hybrid stage** after a shared alignment stage. The shared start holds the cells near
  one another; longer training from it, or training without it, may show larger effects.
- **Alpha changes which hits are served.** Base rate and difficulty of the first twenty differ
  between cells. The gap is a difference on one and the same hits and is free of that to first
  order only; numbers of hits and base rates stand beside it.
- **Intervals hold the calibrators fixed** and resample the questions of one corpus. The spread
  between three seeds is shown, not estimated. Nothing is corrected for the number of hypotheses,
  of which one is primary.
- **`own` is not a ceiling.** It has two parameters and fewer hits than `en-en` for rare pairs, so
  that its loss is too high by about 1 / (hits to fit on).
- **The passages of both halves are in one pool.** A sentence of the other half can be a distractor
  of a question a calibrator was fitted on; calibrators of two parameters cannot remember it.
- **PEER is left out.** With one relevant passage in each language its test of their ranks has
  groups of one and gives the same p-value for every ranking; rank distance and LPR@1 say what it
  could not.
"""
