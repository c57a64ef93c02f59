"""One flat policy model: translation, order, compilation and verdicts."""
