"""Several relays: which ones there are, which room lives on which, and what a room must not lose when its relay dies."""
