"""The command line: ``python -m tinygrad_cnn``."""

from tinygrad_cnn.cli import main

if __name__ == "__main__":
    main()
