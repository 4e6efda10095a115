"""What belongs to others: builders of public data sets, and published result tables."""
