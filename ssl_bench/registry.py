"""Where the things that grow are found: child registries of mmengine, and files.

Classes that a config names by ``type`` are kept in mmengine's registries with the scope
``ssl_bench``. Modules (protocols, checkpoint layouts, data sets, backbone families) are
found as files of their package and as entry points of other packages; nothing is listed
by hand.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points
from types import ModuleType

from mmengine import registry as _root
from mmengine.registry import Registry

SCOPE = "ssl_bench"

MODELS = Registry("model", parent=_root.MODELS, scope=SCOPE)
DATASETS = Registry("dataset", parent=_root.DATASETS, scope=SCOPE)
TRANSFORMS = Registry("transform", parent=_root.TRANSFORMS, scope=SCOPE)
OPTIMIZERS = Registry("optimizer", parent=_root.OPTIMIZERS, scope=SCOPE)
HOOKS = Registry("hook", parent=_root.HOOKS, scope=SCOPE)
METRICS = Registry("metric", parent=_root.METRICS, scope=SCOPE)


def discover(package: str, marker: str) -> dict[str, ModuleType]:
    """Find the modules of one kind.

    Args:
        package: dotted name of the package whose files are looked at; entry points of
            the group of the same name are added.
        marker: attribute that makes a module a member (``LAYOUT``, ``FAMILY`` ...).

    Returns:
        Modules by the value of their marker, sorted by it.
    """
    home = importlib.import_module(package)
    found: dict[str, ModuleType] = {}
    modules = [
        importlib.import_module(f"{package}.{info.name}")
        for info in pkgutil.iter_modules(home.__path__)
    ]
    modules += [point.load() for point in entry_points(group=package)]
    for module in modules:
        name = getattr(module, marker, None)
        if isinstance(name, str):
            found[name] = module
    return dict(sorted(found.items()))
