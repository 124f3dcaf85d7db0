"""Seconds an image of predicting from files with detkit against ultralytics, with the same weights, side by side.

    pip install ultralytics
    python benchmarks/prediction.py --batch-size 8 --threads 2
    python benchmarks/prediction.py --runtime openvino

A prediction is what a user gets from a list of pictures: reading, decoding, letterboxing, the network, suppression, and
the masks, which detkit computes when they are asked for: those of the original image, while ultralytics' are those of
the network's input, unless ``--retina-masks`` asks it for the same. A classifier finds a class in each picture. Each
side lives in its own process; the two take turns picture list by picture list. The weights are random, with the bias of
the classes raised until there is something to find, or those of ``--weights``; detkit converts them.

With ``--pictures`` both also write a picture of each image with what was found, as JPEG, as ``detkit predict`` and
ultralytics' ``save=True`` do.

Without ultralytics detkit runs alone, on random weights that find nothing. The peer pads the pictures of a batch to a
square where their shapes differ, and leaves out objects whose mask is empty: it may find other numbers of objects.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from arguments import device, positive, run
from comparison import Comparison, report
from sides import (
    END_TO_END,
    answer,
    answers,
    config_name,
    image_operations,
    model_name,
    parse,
    parser_of,
    peer_name,
    precision,
    their_config,
)

if TYPE_CHECKING:
    import torch

    from detkit.inference import Predictor

FOUND_PER_IMAGE = 20  # objects in the first picture, at most
SCORE_THR = 0.25


def enlarge(folder: Path, size_wh: tuple[int, int]) -> None:
    """Enlarge all pictures of a folder to (w, h)."""
    import cv2

    for path in folder.iterdir():
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), size_wh, interpolation=cv2.INTER_CUBIC))


def write_weights(path: Path, args: argparse.Namespace, picture: Path) -> None:
    """Write random weights of ultralytics' model, which find something in the picture."""
    import copy

    import cv2
    import torch
    from ultralytics import YOLO

    torch.manual_seed(0)
    model = YOLO(their_config(args), task=None, verbose=False)
    if args.task == 'cls':  # an image always has a class
        model.save(path)
        return
    image = torch.from_numpy(cv2.resize(cv2.imread(str(picture)), (args.img_size, args.img_size)))
    image = image.permute(2, 0, 1)[None].flip(1).float() / 255
    head = model.model.model[-1]
    branches = head.cv3
    if args.family in END_TO_END:
        branches = head.one2one_cv3  # by which it predicts
        head.end2end = True  # for the forward passes below
    last_layers = [layers[-1] for layers in branches]
    logit_layers = head.cv4 if args.family == 'yolo_world' else last_layers  # its logits are of embeddings and texts
    for module in model.model.modules():
        if type(module).__name__ == 'Attention':  # random ones let one cell take all, and logits explode
            module.qkv.bn.weight.data *= 0.1
    network = with_statistics(model.model, image)
    # A head without suppression: detkit reports a box with its best class, ultralytics with every class.
    found_classes = 1 if args.family in END_TO_END else None

    @torch.no_grad()
    def logits() -> torch.Tensor:
        """Return the logits, ``(classes, anchors)``."""
        maps: list[torch.Tensor] = []
        hooks = [layer.register_forward_hook(lambda _, args, output: maps.append(output[0])) for layer in logit_layers]
        network(image)
        for hook in hooks:
            hook.remove()
        return torch.cat([each.flatten(1) for each in maps], 1)[:found_classes]

    for layer in logit_layers:
        layer.bias.data.zero_()
    centred = logits() - logits().mean(1, keepdim=True)
    for layer in logit_layers:
        if args.family == 'yolo_world':
            layer.logit_scale.data += torch.log(2 / centred.std())
        else:
            layer.weight.data *= 2 / centred.std()
    bias = float(torch.logit(torch.tensor(SCORE_THR)) - logits().max())
    while True:
        for layer in logit_layers:
            layer.bias.data.fill_(bias)
            if found_classes == 1:
                layer.weight.data[1:] = 0
                layer.bias.data[1:] = -50
        found = copy.deepcopy(model).predict(
            str(picture), imgsz=args.img_size, conf=SCORE_THR, device='cpu', verbose=False, **end_to_end(args)
        )
        if len(found[0]) <= FOUND_PER_IMAGE:
            break
        bias -= 0.5
    model.save(path)


def end_to_end(args: argparse.Namespace) -> dict[str, bool]:
    """Return the arguments by which ultralytics predicts with one-to-one branches."""
    return {'nms': False} if args.family in END_TO_END else {}


def with_statistics(network: torch.nn.Module, image: torch.Tensor) -> torch.nn.Module:
    """Return the network, in evaluation mode, with the statistics of an image: without any its features vanish."""
    import torch

    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(image)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()


def detkit_side(args: argparse.Namespace, pictures: Sequence[str]) -> Callable[[], int]:
    """Return a function that predicts on all pictures, and returns how many objects were found."""
    import torch

    from detkit import Detector
    from detkit.inference import Predictor

    if not args.as_shipped:
        torch.set_num_threads(args.threads)
    source = args.weights or config_name(args)
    model = Detector(source, device=args.device, runtime=args.runtime)
    options = {'amp': True} if args.amp else {}
    options |= {'reduced_decoding': True} if args.reduced_decoding else {}
    options |= dict(batch_size=args.batch_size, img_size=args.img_size)
    if args.pictures:
        return lambda: pictures_of(Predictor(model=model.model, **options), pictures)

    def predict() -> int:
        results = model(pictures, stream=True, **options)
        found = 0
        for result in results:
            found += 1 if args.task == 'cls' else len(result)
            if result.instance_masks is not None and not args.without_masks:
                result.instance_masks.crops  # noqa: B018 computed when they are asked for
        return found

    return predict


def pictures_of(predictor: Predictor, pictures: Sequence[str]) -> int:
    """Write a picture of each prediction, and return how many objects were found."""
    from detkit.inference import FolderOutputs
    from detkit.inference.to_folder import predict_to_folder

    outputs, printed = FolderOutputs(save_json=False, save_csv=True), io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        with redirect_stdout(printed):
            predict_to_folder(predictor, list(pictures), folder, outputs)
        written = len(list(Path(folder).glob('*.jpg')))
        if written != len(pictures):
            raise SystemExit(f'{written} pictures were written of {len(pictures)}')
        return Path(folder, 'predictions.csv').read_text().count('\n') - 1


def ultralytics_side(args: argparse.Namespace) -> Callable[[], int]:
    """Return the same of ultralytics, which reads a folder in batches of the size asked for, and a list at once."""
    import torch
    import ultralytics.utils.torch_utils as torch_utils
    from ultralytics import YOLO

    if not args.as_shipped:
        torch_utils.NUM_THREADS = args.threads  # what its device selection hands to torch
        torch.set_num_threads(args.threads)
    model = YOLO(args.weights)

    def predict() -> int:
        results = model.predict(
            args.source,
            stream=True,
            batch=args.batch_size,
            imgsz=args.img_size,
            device=args.device,
            half=args.amp and args.device != 'cpu',
            conf=SCORE_THR,
            verbose=False,
            **end_to_end(args),
            retina_masks=args.retina_masks,
            save=args.pictures,
            project=args.pictures and str(Path(args.source).parent / 'drawn'),
            exist_ok=True,
        )
        return sum(1 if args.task == 'cls' else len(result) for result in results)

    return predict


def pictures_in(folder: str) -> list[str]:
    """Return the paths of the pictures of a folder; none where there is no folder."""
    return sorted(str(path) for suffix in ('.jpg', '.png') for path in Path(folder).glob(f'*{suffix}'))


def serve(args: argparse.Namespace) -> None:
    """Predict on all pictures in turns, with seconds an image and the number of objects, in a child process."""
    pictures = pictures_in(args.source)
    predict = detkit_side(args, pictures) if args.side == 'detkit' else ultralytics_side(args)

    def timed() -> tuple[float, int]:
        start = time.perf_counter()
        found = predict()
        return (time.perf_counter() - start) / len(pictures), found

    answer(timed)


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = parser_of(__doc__, batch_size=1)
    parser.add_argument('--source', help='a folder of pictures; by default they are drawn')
    parser.add_argument('--images', type=positive, default=32, help='pictures to draw')
    parser.add_argument(
        '--picture-size', type=positive, nargs=2, metavar=('W', 'H'), help='enlarge drawn pictures to it'
    )
    parser.add_argument('--without-masks', action='store_true', help="detkit's masks are not asked for")
    parser.add_argument('--retina-masks', action='store_true', help="ultralytics' masks, too, are those of the image")
    parser.add_argument('--pictures', action='store_true', help='both also write a picture of each prediction')
    parser.add_argument('--reduced-decoding', action='store_true', help='for detkit, see docs/performance.md')
    parser.add_argument('--weights', help="a file of ultralytics' weights; random ones by default")
    parser.add_argument('--rounds', type=positive, default=5, help='counted rounds, after one that is not')
    parser.add_argument('--amp', action='store_true', help='bf16 for detkit, float16 for ultralytics on a GPU')
    parser.add_argument('--device', type=device, default='cpu', help='of both: cpu, cuda:0, ...')
    parser.add_argument('--runtime', default='torch', help="detkit's: torch, onnx, openvino, or auto")
    args = parse(parser, argv)
    if args.side:
        serve(args)
        return []
    if args.source is not None and not pictures_in(args.source):
        parser.error(f'--source {args.source} is no folder with pictures (.jpg, .png)')
    peer = peer_name()
    work = 0.0  # unknown for weights that are given
    with tempfile.TemporaryDirectory() as folder:
        if args.source is None:
            from detkit.sample_data.coco8 import render_coco8_seg

            render_coco8_seg(Path(folder, 'data'), num_train=args.images, num_val=1)
            args.source = str(Path(folder, 'data/images/train'))
            if args.picture_size:
                enlarge(Path(args.source), tuple(args.picture_size))
            argv += ['--source', args.source]
        if args.weights is None and args.device == 'cpu':
            work = image_operations(config_name(args), args.size, pictures_in(args.source), args.img_size)
        if args.weights is None and peer:
            weights = Path(folder, 'random.pt')
            write_weights(weights, args, Path(pictures_in(args.source)[0]))
            argv += ['--weights', str(weights)]
        found = answers(__file__, argv, args.rounds)
    seconds = {name: [each[0] for each in own] for name, own in found.items()}
    kind = precision(args.amp, args.device)
    how = kind + ('' if args.runtime == 'torch' else f', {args.runtime}')
    title = f'{model_name(args)}, batch {args.batch_size}, {args.img_size} px, {how}'
    if args.device != 'cpu':
        title += f', {args.device}'
    if args.without_masks:
        title += ', masks not asked for'
    if args.retina_masks:
        title += ', masks of the image on both sides'
    if args.pictures:
        title += ', with pictures'
    if args.picture_size:
        title += f', pictures of {args.picture_size[0]} x {args.picture_size[1]} px'
    if args.reduced_decoding:
        title += ', reduced decoding'
    comparisons = [
        Comparison(
            f'prediction of an image, {title}',
            's',
            seconds['detkit'],
            peer,
            seconds.get(peer, []),
            work=work,
            number_format='bfloat16' if kind == 'bf16' else 'float32',
        ),
    ]
    report(comparisons, args.json)
    print('objects found: ' + ', '.join(f'{name} {own[-1][1]}' for name, own in found.items()))
    return comparisons


if __name__ == '__main__':
    run(main)
