"""Checkers: each looks at the evidence of a run and finds it good, bad, or unknown."""
