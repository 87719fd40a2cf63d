"""Election timer and votes."""
