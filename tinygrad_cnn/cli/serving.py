"""``tinygrad-cnn studio``: serve the studio."""

from __future__ import annotations

from pathlib import Path

from tinygrad_cnn.support.modules import needs_extra

__all__ = ["studio"]


def studio(
    host: str,
    port: int,
    data_dir: Path | None,
    public_url: str | None,
    token: str | None,
    concurrent_runs: int | None,
    open_browser: bool,
) -> int:
    """Serve until interrupted, and return the exit status."""
    with needs_extra("studio", "the studio"):
        from tinygrad_cnn.studio.server import serve
        from tinygrad_cnn.studio.settings import (
            StudioSettings,
            default_concurrent_runs,
            default_data_dir,
        )
        from tinygrad_cnn.studio.store import DamagedStoreError
        from tinygrad_cnn.support.lock import InUseError
    settings = StudioSettings(
        data_dir=data_dir or default_data_dir(),
        host=host,
        port=port,
        public_url=public_url,
        token=token,
        concurrent_runs=concurrent_runs or default_concurrent_runs(),
    )
    try:
        serve(settings, open_browser)
    except (DamagedStoreError, InUseError) as error:
        raise OSError(str(error)) from error
    return 0
