"""The calibrator: its document, what it computes, and how a probability is explained."""
