"""Pages of the four portals: read from selectors, posts call one service each."""
