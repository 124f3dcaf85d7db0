"""``create_app``: the application of the server, its paths and what each answers."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from detkit import __version__
from detkit.inference import PredictionOptions, Result
from detkit.serving.answers import choose_format, json_answer, picture_answer
from detkit.serving.batcher import Batcher, Places
from detkit.serving.bodies import BodyMemory, BodyReader, ClientDisconnect, Upload
from detkit.serving.guard import Guard, ProblemResponse, fault
from detkit.serving.metrics import Metrics
from detkit.serving.model import ServedModel
from detkit.serving.options import parse_options, query_parameters
from detkit.serving.problems import RequestProblem
from detkit.serving.remote import Fetcher
from detkit.serving.schemas import Health, Info, Predictions, Problem
from detkit.serving.settings import ServeSettings
from detkit.structures.keypoints import default_skeleton
from detkit.utils.errors import DataError
from detkit.utils.processors import processors

_ASSETS = Path(__file__).parent / 'assets'
_READERS = min(4, processors())  # threads that decode images and make answers
_FETCHERS = 4
_STUCK_SECONDS = 120.0
_GONE = 499  # as nginx counts requests whose client has gone
_PATHS = frozenset({'/', '/page.js', '/page.css', '/predict', '/health', '/metrics', '/info', '/openapi.json'})


def create_app(model: ServedModel, settings: ServeSettings, name: str = '') -> ASGIApp:
    """Return the application that serves a model; any ASGI server runs it, in one process.

    Args:
        model: the model; warm it up first.
        settings: the limits.
        name: what clients are told that the model is called.
    """
    service = PredictionService(model, settings)
    app = FastAPI(
        title='detkit',
        version=__version__,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=service.lifespan,
    )
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=['GET', 'POST'],
            allow_headers=['Authorization', 'Content-Type'],
        )
    _add_pages(app)
    _add_state(app, service, _info(model, settings, name))
    _add_predict(app, service)
    app.add_exception_handler(RequestProblem, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http_problem)
    app.add_exception_handler(Exception, _answer_fault)  # which the guard then logs
    return Guard(app, settings, service.metrics, _PATHS)


class PredictionService:
    """Service for requests: reads bodies, decodes images, predicts on batches that requests share, and answers.

    Args:
        model: the model.
        settings: the limits.
    """

    def __init__(self, model: ServedModel, settings: ServeSettings) -> None:
        self._model, self._settings = model, settings
        self._memory = BodyMemory(settings.max_body_memory)
        self._bodies = BodyReader(settings, self._memory)
        self._fetcher = Fetcher(settings)
        self.metrics = Metrics(lambda: self.batcher.taken if self.batcher else 0, settings.batch_size)
        self.batcher: Batcher | None = None
        self._readers = self._fetchers = None

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Run batches as long as the application runs."""
        settings = self._settings
        self.batcher = Batcher(
            self._model.run,
            settings.batch_size,
            settings.max_wait_ms / 1000,
            settings.max_queue,
            self.metrics.observe_batch,
        )
        self._readers = ThreadPoolExecutor(_READERS, 'detkit-images')
        self._fetchers = ThreadPoolExecutor(_FETCHERS, 'detkit-fetch')
        self.batcher.start()
        try:
            yield
        finally:
            await self.batcher.stop()
            self._readers.shutdown()
            self._fetchers.shutdown(wait=False, cancel_futures=True)

    @property
    def status(self) -> str:
        """'ready', 'stopping', or 'stuck' where a batch takes longer than any should."""
        if self.batcher is None or not self.batcher.running:
            return 'stopping'
        since = self.batcher.busy_since
        return 'stuck' if since is not None and time.monotonic() - since > _STUCK_SECONDS else 'ready'

    async def answer(self, request: Request) -> Response:
        """Return the answer to a request for predictions.

        Raises:
            RequestProblem: there is something wrong with it, or no room.
        """
        start = time.monotonic()
        try:
            return await asyncio.wait_for(self._answer(request), self._settings.deadline_seconds)
        except asyncio.TimeoutError as error:
            seconds = self._settings.deadline_seconds
            raise RequestProblem(504, f'there was no answer within {seconds:g} s', retry=True, unread=True) from error
        finally:
            self.metrics.request_seconds.observe(time.monotonic() - start)

    async def _answer(self, request: Request) -> Response:
        query = request.query_params.multi_items()
        formats = [value for name, value in query if name == 'format']
        if len(formats) > 1:
            raise RequestProblem(422, 'the option format is there twice')
        kind = choose_format(formats[0] if formats else None, request.headers.get('accept', ''))
        options = parse_options([item for item in query if item[0] != 'format'], self._settings)
        # It refuses what this model does not take, and may embed the names of classes.
        await self._in_reader(self._model.predictor, options)
        self.batcher.check_room(1)  # before the body is read
        uploads, held = await self._bodies.read(request)
        try:
            if kind != 'json' and len(uploads) > 1:
                raise RequestProblem(422, 'a picture is drawn of one image; send one, or ask for JSON')
            with self.batcher.places(len(uploads)) as places:
                return await _unless_gone(request, self._predict(uploads, options, kind, places))
        finally:
            self._memory.give_back(held)

    async def _predict(self, uploads: list[Upload], options: PredictionOptions, kind: str, places: Places) -> Response:
        jobs = [asyncio.ensure_future(self._result(upload, options, kind != 'json', places)) for upload in uploads]
        try:
            results = await asyncio.gather(*jobs)
        finally:
            for job in jobs:
                job.cancel()
        unread = [result for result in results if result.error is not None]
        self.metrics.images.add('predicted', amount=len(results) - len(unread))
        self.metrics.images.add('unreadable', amount=len(unread))
        if len(unread) == len(results):
            raise RequestProblem(422, '; '.join(result.error for result in unread[:3]))
        if kind == 'json':
            return await self._in_reader(json_answer, results)
        return await self._in_reader(picture_answer, results[0], kind)

    async def _result(self, upload: Upload, options: PredictionOptions, keep_image: bool, places: Places) -> Result:
        """Return the result of an image; one that cannot be read has an error in it."""
        try:
            data = upload.data
            if data is None:
                data = await asyncio.get_running_loop().run_in_executor(self._fetchers, self._fetcher.fetch, upload.url)
            image = await self._in_reader(self._model.prepare, upload.name, data, options, keep_image)
        except DataError as error:
            places.give_up()
            return self._model.unread(upload.name, str(error))
        sample = await places.submit(self._model.key(options, image), image, image.weight)
        return await self._in_reader(self._model.result, options, image, sample)

    async def _in_reader(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._readers, function, *args)


async def _unless_gone(request: Request, work: Awaitable[Response]) -> Response:
    """Return the outcome of ``work``, which ends when the client goes."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_wait_until_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())['type'] != 'http.disconnect':
        pass


def _add_pages(app: FastAPI) -> None:
    """Add the page for people, whose files are read once."""
    for path, file, kind in (
        ('/', 'index.html', 'text/html'),
        ('/page.js', 'page.js', 'text/javascript'),
        ('/page.css', 'page.css', 'text/css'),
    ):
        content = (_ASSETS / file).read_bytes()

        async def page(content: bytes = content, kind: str = kind) -> Response:
            return Response(content, media_type=kind)

        app.add_api_route(path, page, methods=['GET', 'HEAD'], include_in_schema=False)


def _add_state(app: FastAPI, service: PredictionService, info: dict[str, Any]) -> None:
    """Add what machines ask about the server."""

    @app.head('/health', include_in_schema=False)
    @app.get('/health', response_model=Health, responses={503: {'model': Health}})
    async def health() -> Response:
        """Return whether the server takes requests; status 503 where it does not."""
        return JSONResponse({'status': service.status}, 200 if service.status == 'ready' else 503)

    @app.get('/metrics', response_class=Response, responses={200: {'content': {'text/plain': {}}}})
    async def metrics() -> Response:
        """Return counts and times, as Prometheus reads them."""
        return Response(service.metrics.text(), media_type='text/plain; version=0.0.4')

    @app.get('/info', response_model=Info)
    async def model_info() -> Response:
        """Return what the model is, and the limits of the server."""
        return JSONResponse(info)


def _add_predict(app: FastAPI, service: PredictionService) -> None:
    """Add the path for predictions."""
    picture = {'schema': {'type': 'string', 'format': 'binary'}}
    entry = {'type': 'object', 'properties': {name: {'type': 'string'} for name in ('data', 'url', 'name')}}
    images = {'type': 'array', 'items': {'oneOf': [{'type': 'string', 'format': 'byte'}, entry]}}
    files = {'type': 'array', 'items': picture['schema']}
    body = {
        'multipart/form-data': {'schema': {'type': 'object', 'properties': {'file': files}}},
        'application/octet-stream': picture,
        'application/json': {'schema': {'type': 'object', 'properties': {'images': images}, 'required': ['images']}},
    }
    answer_format = {'name': 'format', 'in': 'query', 'schema': {'type': 'string', 'enum': ['json', 'jpg', 'png']}}
    problems = {status: {'model': Problem} for status in (400, 401, 403, 406, 408, 413, 415, 422, 424, 500, 503, 504)}

    @app.post(
        '/predict',
        response_model=Predictions,
        responses={200: {'content': {'image/jpeg': picture, 'image/png': picture}}, **problems},
        openapi_extra={
            'requestBody': {'required': True, 'content': body},
            'parameters': [answer_format, *query_parameters()],
        },
    )
    async def predict(request: Request) -> Response:
        """Predict on one image or several, and return what was found, or a picture of it."""
        try:
            return await service.answer(request)
        except ClientDisconnect:
            return Response(status_code=_GONE)


async def _answer_problem(request: Request, problem: RequestProblem) -> Response:
    return ProblemResponse(problem)


async def _answer_fault(request: Request, error: Exception) -> Response:
    return fault()


async def _answer_http_problem(request: Request, error: HTTPException) -> Response:
    """Return the answer of an unknown path or method."""
    texts = {404: f'there is nothing at {request.url.path}', 405: f'{request.method} is not possible here'}
    answer = ProblemResponse(
        RequestProblem(error.status_code, texts.get(error.status_code, str(error.detail)), unread=True)
    )
    answer.headers.update(error.headers or {})
    return answer


def _info(model: ServedModel, settings: ServeSettings, name: str) -> dict[str, Any]:
    predictor = model.predictor(PredictionOptions())
    info = predictor.model.info
    options = predictor.options
    skeleton = info.keypoints.get('skeleton')
    if skeleton is None:  # as pictures draw it
        head = info.config.get('model', {}).get('head', {})
        skeleton = default_skeleton(head.get('keypoint_shape', (17, 3))[0]) if model.detector.task == 'pose' else ()
    limits = ('max_bytes', 'max_pixels', 'max_images', 'max_img_size', 'max_per_img', 'batch_size', 'max_queue')
    return {
        'model': name,
        'task': model.detector.task,
        'classes': list(info.classes),
        'keypoints': [str(keypoint) for keypoint in info.keypoints.get('keypoint_names') or ()],
        'skeleton': [[int(end) for end in pair] for pair in skeleton],
        'licence': info.licence,
        'device': str(model.detector.device),
        'img_size': int(predictor.img_size),
        'thresholds': {key: float(getattr(options, key)) for key in ('score_thr', 'iou_thr')},
        'limits': {key: getattr(settings, key) for key in limits},
        'versions': {'detkit': __version__, 'torch': torch.__version__, 'python': platform.python_version()},
    }
