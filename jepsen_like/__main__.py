"""`python -m jepsen_like`."""

from jepsen_like.cli import main

if __name__ == "__main__":
    main()
