"""What pages are made of: a pure function from a snapshot to what is shown, with its ``.js`` and ``.css`` beside it."""
