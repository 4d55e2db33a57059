"""Errors of models on this host."""


class ModelError(Exception):
    """A model that cannot be read or run here, or fails its self-test."""


class RepositoryError(ModelError):
    """A model repository without the requested version, or with a damaged one."""


class ProviderError(ModelError):
    """An execution provider that cannot run on this host."""


class SelfTestError(ModelError):
    """A variant whose answers on this host are not those that it was published with."""
