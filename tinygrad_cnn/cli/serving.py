"""``tinygrad-cnn studio``: serve the studio."""

from __future__ import annotations

from pathlib import Path

__all__ = ["studio"]


def studio(
    host: str, port: int, data_dir: Path | None, token: str | None, open_browser: bool
) -> int:
    """Serve until interrupted, and return the exit status."""
    try:
        from tinygrad_cnn.studio.server import serve
        from tinygrad_cnn.studio.settings import StudioSettings, default_data_dir
        from tinygrad_cnn.studio.store import DamagedStoreError
        from tinygrad_cnn.studio.training.lock import InUseError
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the studio needs the module {error.name!r}, which is not installed: "
            'pip install "tinygrad_cnn[studio]"',
            name=error.name,
        ) from error
    settings = StudioSettings(
        data_dir=data_dir or default_data_dir(), host=host, port=port, token=token
    )
    try:
        serve(settings, open_browser)
    except (DamagedStoreError, InUseError) as error:
        raise OSError(str(error)) from error
    return 0
