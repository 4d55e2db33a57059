"""What can be wrong with a model on this host."""


class ModelError(Exception):
    """A model that cannot be read, trusted or run here."""


class RepositoryError(ModelError):
    """A model repository without the version that is asked for, or with a damaged one."""


class ProviderError(ModelError):
    """An execution provider that this host cannot run."""


class SelfTestError(ModelError):
    """A variant whose answers on this host are not the ones it was published with."""
