"""`python -m cli` is `meridian`."""

from cli.app import main

if __name__ == "__main__":
    main()
