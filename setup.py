"""The packages of the distribution: each folder at the root is one of them, `train/` is `digits.train`."""

from setuptools import find_namespace_packages, find_packages, setup

CHECKOUT_ONLY = [f"benchmarks.{name}*" for name in ("compare", "peers", "report")]
PROTOS = find_namespace_packages(include=["protos*"])  # generated, without __init__.py

setup(packages=[f"digits.{name}" for name in [*find_packages(exclude=CHECKOUT_ONLY), *PROTOS]])
