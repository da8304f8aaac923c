"""The fixtures of the integration tests."""

import importlib.util
import pathlib

_file = pathlib.Path(__file__).resolve().parents[1] / "integration/conftest.py"
_spec = importlib.util.spec_from_file_location("integration_conftest", _file)
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
for _name in ("cluster", "bare_app", "app", "config", "make_walpush", "walpush"):
    globals()[_name] = getattr(_module, _name)
