"""`python -m service` is `digits`."""

from service.cli import main

if __name__ == "__main__":
    main()
