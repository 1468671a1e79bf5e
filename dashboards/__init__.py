"""Where people look: pages that read the store, and only the store."""
