"""``python -m autocolor.cli``, where the command is not on the PATH."""

from autocolor.cli import program

if __name__ == "__main__":
    program()
