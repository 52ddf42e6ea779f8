"""`python -m mqweb` is the command `mqweb`."""

from mqweb.cli import main

if __name__ == "__main__":
    main()
