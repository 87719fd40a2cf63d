"""The one table of routes: `routes.py` is the whole, `router.py` finds a route in it by a path."""
