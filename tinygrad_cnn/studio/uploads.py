"""Bodies of requests as files, on the disk unless they are small, within one budget for all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, BinaryIO, cast

from fastapi import Depends, Request
from starlette.datastructures import UploadFile

from tinygrad_cnn.studio.services import UsesServices
from tinygrad_cnn.studio.settings import SMALL_BYTES

__all__ = ["Uploaded"]


async def uploaded(request: Request, services: UsesServices) -> AsyncIterator[IO[bytes]]:
    """Yield the body as a file, once it has arrived; the file is deleted after the response.

    It lies in the data folder, as the folder for temporary files may be in memory.
    """
    folder = str(services.settings.data_dir)
    with (
        services.uploads.share() as share,
        SpooledTemporaryFile(SMALL_BYTES, dir=folder) as file,
    ):
        upload = UploadFile(cast(BinaryIO, file))  # writes in a thread, if to the disk
        async for chunk in request.stream():
            share.take(len(chunk))
            await upload.write(chunk)
        await upload.seek(0)
        yield file


Uploaded = Annotated[IO[bytes], Depends(uploaded)]
