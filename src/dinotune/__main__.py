"""`python -m dinotune` is the command `dinotune`."""

from dinotune.cli import main

if __name__ == "__main__":
    main()
