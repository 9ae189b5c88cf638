"""What adapting costs, told beforehand: from configurations alone, without weights."""
