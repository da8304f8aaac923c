"""What the tests share. What they share with `make run` and `make demo` is deploy/throwaway, which this puts in sight."""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "deploy"))
