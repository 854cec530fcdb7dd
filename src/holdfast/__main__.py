"""`python -m holdfast` is the command line, where its program is on no path."""

from holdfast.client.cli import main

if __name__ == "__main__":
    main()
