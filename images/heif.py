"""HEIC files, as phones store photos: pillow-heif, which `digits-serving[heif]` installs, decodes them for Pillow."""

from digits.images.errors import PictureError


def register() -> None:
    """Lets Pillow open HEIC files; may be called any number of times. Raises PictureError without pillow-heif."""
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError as error:
        raise PictureError(
            "a HEIC picture needs pillow-heif, which is not installed; pip install 'digits-serving[heif]'"
        ) from error
    register_heif_opener(thumbnails=False)
