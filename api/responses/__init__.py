"""From stored rows and outcomes to JSON."""
