"""What `import autocolor` gives, and what it loads."""

import importlib
import inspect
import subprocess
import sys

import pytest

import autocolor


def test_names_are_those_of_their_modules() -> None:
    assert set(autocolor.__all__) == {
        "load_model",
        "Colorizer",
        "Prediction",
        "lightness",
        "read_image",
        "write_image",
        "AutocolorError",
        "__version__",
    }
    assert set(autocolor.__all__) <= set(dir(autocolor))
    for name in set(autocolor.__all__) - {"__version__"}:
        value = getattr(autocolor, name)
        module = importlib.import_module(inspect.getmodule(value).__name__)
        assert getattr(module, name) is value
    with pytest.raises(AttributeError, match="module 'autocolor' has no attribute 'Predictor'"):
        _ = autocolor.Predictor


def test_importing_it_loads_nothing_large() -> None:
    code = "import sys, autocolor; print([name for name in sys.modules if 'numpy' in name])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
