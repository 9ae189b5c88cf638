"""What each kind of cost is made of, one breakdown a file."""
