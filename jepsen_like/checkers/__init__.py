"""Judges of what happened. Each looks at the evidence of a run and finds it good, bad, or cannot say."""
