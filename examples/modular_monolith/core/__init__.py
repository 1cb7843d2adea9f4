"""What all modules share."""
