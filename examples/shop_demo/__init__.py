"""`make demo`: 300 orders through the example shop, and an account of what became of every delivery."""
