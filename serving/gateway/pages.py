"""What a browser asks for: the web page and its files, a scan to try, the API's description; all of it from here."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from lesions import nifti
from serving.gateway import api_page, openapi
from serving.gateway.models import Models
from serving.gateway.refusal import Refusal
from serving.gateway.settings import Settings

WEB = Path(__file__).parents[1] / "web" / "static"  # the page, index.html, and its files
SAMPLE = "sample.nii.gz"
_OURS = {
    # Nothing from elsewhere, nothing written into the page; NiiVue has its font and lookup tables as data.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src data:; connect-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_SPACINGS = (0.5, 6.0)  # mm, of the phantom


class Pages:
    """The endpoints."""

    def __init__(self, settings: Settings, models: Models):
        """Args: settings: The gateway's. models: Whose grid the sample lies on."""
        self.settings, self.models = settings, models
        self._files = StaticFiles(directory=WEB, check_dir=False)
        self._making = asyncio.Lock()

    async def index(self, request: Request) -> Response:
        """The web page; where it was not built, the API's."""
        if (WEB / "index.html").is_file():
            return FileResponse(WEB / "index.html", headers=_OURS)
        return await self.docs(request)

    async def static(self, request: Request) -> Response:
        """The page's files."""
        try:
            found = await self._files.get_response(request.path_params["path"], request.scope)
        except HTTPException:
            raise Refusal(404, "No such file") from None
        found.headers.update(_OURS)
        return found

    async def docs(self, request: Request) -> Response:
        """The API for people."""
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return HTMLResponse(api_page.render(openapi.document()), headers=headers)

    async def openapi(self, request: Request) -> Response:
        """The API for programs."""
        return JSONResponse(openapi.document())

    async def sample(self, request: Request) -> Response:
        """A phantom scan on the models' grid, made once."""
        path = self.settings.scratch / SAMPLE
        async with self._making:
            if not path.is_file():
                await asyncio.to_thread(self._make, path)
        return FileResponse(path, media_type="application/gzip", filename="phantom_T1w.nii.gz")

    def _make(self, path: Path) -> None:
        from lesions.phantom import make_subject  # templates and SciPy's filters: not before they are needed

        pinned = self.models.pin()
        least, most = _SPACINGS
        spacing = min(max(pinned.card(pinned.planes[0]).grid.spacing[0], least), most)
        scan, _ = make_subject(0, spacing=spacing)
        nifti.write(path, scan, "raxnet phantom, no person's scan")
